// Draws the report from the JSON block beside it. Nothing is fetched, and no text of a run ever becomes markup:
// elements are made one by one, and strings reach them as text or as attributes.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page"), tip = document.getElementById("tip");
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURED = 7, ROWS = 25, GREY_CURVES = 150, MOST_CELLS = 20, LOG_SCORES_FROM = 5;
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4"];
  // nine stops of viridis: lightness grows evenly, so that it reads in grey and by everybody
  const VIRIDIS = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];

  // ---- making elements -----------------------------------------------------------------------

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") Object.assign(node.style, value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(9)) if (child !== null && child !== undefined && child !== false) node.append(child);
    return node;
  }
  const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
  const sv = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
  const colour = (index) => `var(--c${index % COLOURED})`;

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const y = event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  }
  const hideTip = () => { tip.hidden = true; };
  const tipped = (text) => ({ onpointermove: (event) => showTip(event, text), onpointerleave: hideTip });

  // ---- numbers -------------------------------------------------------------------------------

  // as many decimals as the spread deserves: 0.02136 ± 0.00075
  function plusMinus(mean, std) {
    if (!is(std) || std === 0) return short(mean);
    const decimals = 1 - Math.floor(Math.log10(std));
    return decimals >= 0 && decimals <= 8 ? `${mean.toFixed(decimals)} ± ${std.toFixed(decimals)}` : `${short(mean)} ± ${short(std, 2)}`;
  }
  const probability = (p) => !is(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3);
  const duration = (s) => !is(s) ? "–" : s < 90 ? `${short(s, 3)} s` : s < 5400 ? `${(s / 60).toFixed(1)} min` : `${(s / 3600).toFixed(1)} h`;
  const plural = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  const fixed = (value, decimals) => value.toFixed(decimals).replace(/^-(?=[0.]*$)/, ""); // no -0.00
  // both ends with the decimals that their distance deserves
  function range(low, high) {
    const decimals = Math.max(0, 1 - Math.floor(Math.log10(high - low)));
    return high > low && decimals <= 8 && Math.abs(high) < 1e6 ? `${fixed(low, decimals)} – ${fixed(high, decimals)}` : `${short(low, 3)} – ${short(high, 3)}`;
  }

  // ---- axes ----------------------------------------------------------------------------------

  // a plot's frame: calls draw(svg, box) now and whenever the width changes
  const redraws = [];
  function figure(height, label, draw) {
    const holder = el("figure", { role: "group", "aria-label": label });
    let last = 0;
    const render = (force) => {
      const width = Math.floor(holder.clientWidth);
      if (!width || (!force && width === last)) return;
      last = width;
      holder.replaceChildren();
      const svg = sv("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
      holder.append(svg);
      draw(svg, width, height, holder);
    };
    redraws.push(render);
    holder.redraw = () => render(true);
    return holder;
  }

  function axes(svg, x, y, box, names, most = {}) {
    for (const [value, text] of labelled(ticks(y, most.y || 5))) {
      svg.append(sv("line", { class: "rule", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        sv("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
    }
    if (x) for (const [value, text] of spaced(labelled(ticks(x, most.x || Math.max(2, Math.floor((box.right - box.left) / 75)), names.x === "epoch")), x)) {
      svg.append(sv("line", { class: "axis", x1: x(value), x2: x(value), y1: box.bottom, y2: box.bottom + 4 }),
        sv("text", { x: x(value), y: box.bottom + 17, "text-anchor": "middle" }, text));
    }
    svg.append(sv("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    if (names.x) svg.append(sv("text", { class: "ink", x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" }, names.x));
    if (names.y) svg.append(sv("text", { class: "ink", x: box.left - 6 - (names.shift || 0), y: box.top - 8, "text-anchor": "start" }, names.y));
  }

  const star = (x, y, r) => `M${[...Array(10).keys()].map((i) => { const angle = Math.PI * (i / 5 - 0.5), radius = i % 2 ? r * 0.42 : r; return `${(x + radius * Math.cos(angle)).toFixed(1)} ${(y + radius * Math.sin(angle)).toFixed(1)}`; }).join("L")}Z`;
  function viridis(share) {
    const place = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(place));
    return VIRIDIS[i].map((from, k) => Math.round(from + (VIRIDIS[i + 1][k] - from) * (place - i)));
  }
  const css = (rgb) => `rgb(${rgb.join(",")})`;
  const dark = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b < 140;
  // 1 for the best score of all, 0 for the worst
  function goodness(board, values) {
    const log = state.log, f = (value) => log && value > 0 ? Math.log(value) : value;
    const there = finite(values).map(f), low = lowest(there), high = highest(there);
    return (value) => { const share = high > low ? (f(value) - low) / (high - low) : 1; return board.mode === "min" ? 1 - share : share; };
  }

  // ---- small parts ---------------------------------------------------------------------------

  function code(text) {
    const button = el("button", { type: "button", "aria-label": "Copy the command", onclick: async () => {
      try { await navigator.clipboard.writeText(text); } catch {
        const area = el("textarea", {}, text); document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
      }
      button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } }, "Copy");
    return el("div", { class: "code" }, el("code", { tabindex: 0 }, text), button);
  }
  // a key may go on in the next line after a dot or an underscore
  const broken = (key) => el("span", {}, key.split(/(?<=[._])/).flatMap((part, index) => index ? [el("wbr"), part] : [part]));
  const card = (id, title, said, ...children) => el("section", { class: "card", id }, el("h2", {}, title), said && el("p", { class: "quiet small" }, said), children);
  const commandOf = (group, seeds) => seeds.length > 1 ? `${group.command.replace(/^rnnlab train/, "rnnlab train -m")}seed=${seeds.join(",")}` : `${group.command}seed=${seeds[0]}`;
  const choose = (label, options, value, onchange) => el("label", {}, label, el("select", { onchange: (event) => onchange(event.target.value) },
    options.map(([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text))));

  // a table whose headers sort; columns: {name, num, value(row), cell(row)}
  function sortable(columns, rows, options = {}) {
    let by = options.by ?? null, down = false, all = false, needle = "";
    const body = el("tbody"), heads = columns.map((column, index) => el("th", { scope: "col", class: column.num && "num" },
      column.value ? el("button", { type: "button", title: column.title, onclick: () => { down = by === index ? !down : false; by = index; show(); } }, column.name) : column.name));
    const more = el("button", { type: "button", onclick: () => { all = !all; show(); } });
    const count = el("span", { class: "quiet", role: "status" });
    function show() {
      const words = needle.toLowerCase().split(/\s+/).filter(Boolean);
      let chosen = rows.filter((row) => words.every((word) => options.text(row).toLowerCase().includes(word)));
      if (by !== null) {
        const key = columns[by].value, missing = (value) => value === null || value === undefined || Number.isNaN(value);
        chosen = chosen.map((row) => [key(row), row]).sort(([a], [b]) => {
          if (missing(a) || missing(b)) return missing(a) - missing(b); // what is not there stays at the end
          const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
          return down ? -order : order;
        }).map(([, row]) => row);
      }
      heads.forEach((head, index) => { if (index === by) head.setAttribute("aria-sort", down ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); });
      const shown = all ? chosen : chosen.slice(0, options.most || ROWS);
      body.replaceChildren(...shown.map((row) => {
        const line = el("tr", { class: `main ${options.best && options.best(row) ? "best" : ""}` }, columns.map((column) => el("td", { class: [column.num && "num", column.wrap && "wrap"].filter(Boolean).join(" ") }, column.cell(row))));
        if (options.detail) {
          const button = el("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": "Its runs", onclick: () => {
            const open = button.getAttribute("aria-expanded") === "true";
            button.setAttribute("aria-expanded", String(!open));
            button.textContent = open ? "▸" : "▾";
            if (open) line.nextSibling.remove(); else line.after(el("tr", {}, el("td", { class: "detail", colspan: columns.length }, options.detail(row))));
          } }, "▸");
          line.firstChild.prepend(button);
        }
        return line;
      }));
      more.hidden = chosen.length <= (options.most || ROWS);
      more.textContent = all ? `Show the first ${options.most || ROWS}` : `Show all ${chosen.length.toLocaleString("en")}`;
      count.textContent = words.length ? `${chosen.length} of ${rows.length}` : "";
    }
    const search = rows.length > 8 && el("div", { class: "bar" }, el("label", {}, "Filter", el("input", { type: "search", placeholder: options.hint || "", oninput: (event) => { needle = event.target.value; show(); } })), count);
    show();
    return [search, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": options.label }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body)), more];
  }

  // ---- state: which board is looked at --------------------------------------------------------

  const state = { board: 0, log: false };
  const reals = (board) => board.groups.filter((group) => group.rank !== null);

  // ---- sections ------------------------------------------------------------------------------

  function verdict(board, best) {
    const judged = best.judged;
    if (!judged) return null;
    return el("div", { class: `verdict ${judged.good ? "" : "warn"}` },
      board.warning && el("p", { class: "bad" }, board.warning),
      el("p", {}, el("strong", { class: judged.good ? "good" : "bad" }, "Verdict on its best run"), `: ${judged.text}`),
      judged.seen.map((line) => el("p", { class: "small quiet" }, line)),
      judged.next.map(([answers, line]) => [el("p", { class: "small quiet" }, answers), code(line)]));
  }

  function answer(board) {
    const ranked = reals(board), best = ranked[0];
    if (!best) return el("section", { class: "card answer" }, el("p", { class: "headline" }, "No run is done yet: there is nothing to rank."));
    const [mean, std, low, high] = best.score, seeds = best.runs.filter((run) => run.counted).map((run) => run.seed);
    const [testMean, testStd] = best.test;
    const better = is(testMean) && is(best.baseline) && (board.mode === "min" ? testMean < best.baseline : testMean > best.baseline);
    let sure;
    if (!board.comparisons.length) sure = "There is one configuration: nothing to compare it with.";
    else {
      const [n, wins, difference, lo, hi, p, holm] = board.comparisons[0], worse = board.mode === "min" ? difference : -difference;
      const second = ranked[1].name;
      if (board.comparisons.every((each) => !is(each[6]))) sure = `Next is ${second}, ${short(Math.abs(worse), 3)} worse. With ${n < 2 ? "fewer than two seeds in common" : "no spread between seeds"} nobody can say whether that is more than luck: run more seeds.`;
      else sure = `Next is ${second}, ${short(Math.abs(worse), 3)} worse on average; the best wins on ${wins} of ${n} common seeds${is(holm) ? ` (paired t test, p = ${probability(holm).replace("< ", "below ")} after Holm's correction)` : ""}. ` +
        (board.comparisons.length === 1 ? (board.undecided ? "That can't be told from chance at 5 %." : "That is significant at 5 %.") : board.undecided === 0 ? `All ${plural(board.comparisons.length, "other")} are significantly worse at 5 %.` : `Of ${plural(board.comparisons.length, "other")}, ${board.comparisons.length - board.undecided || "none"} ${board.comparisons.length - board.undecided === 1 ? "is" : "are"} significantly worse at 5 %; ${board.undecided} can't be told from it${seeds.length < 5 ? `, since ${plural(seeds.length, "seed")} can show large differences only` : ""}.`);
    }
    const where = best.runs.find((run) => run.seed === best.best);
    return el("section", { class: "card answer", id: "best" },
      el("p", { class: "eyebrow" }, `Best of ${plural(ranked.length, "configuration")} by ${board.monitor} (${board.mode === "min" ? "lower" : "higher"} is better)`),
      el("p", { class: "headline" }, best.name),
      el("p", {}, sure),
      verdict(board, best),
      best.states.failed && el("p", { class: "warn" }, `${best.states.failed} of its ${plural(best.runs.length, "run")} failed: the mean is of those that did not.`),
      el("dl", { class: "facts" },
        el("div", {}, el("dt", {}, `${board.monitor}, validation`), el("dd", {}, plusMinus(mean, std), el("small", {}, is(std) ? `mean ± std of ${plural(best.n, "seed")}` : "one seed: no spread"))),
        el("div", {}, el("dt", {}, "95 % interval of the mean"), el("dd", {}, is(low) ? range(low, high) : "–", el("small", {}, is(low) ? "Student's t" : "takes two seeds"))),
        el("div", {}, el("dt", {}, `${board.test}`), el("dd", {}, is(testMean) ? plusMinus(testMean, testStd) : "–", el("small", {}, "never used to rank"))),
        el("div", {}, el("dt", {}, "Baseline, same test data"), el("dd", { class: is(best.baseline) ? (better ? "" : "bad") : "" }, short(best.baseline), el("small", {}, !is(best.baseline) ? "none kept" : better ? board.trivial || "the trivial predictor" : `${board.trivial || "the trivial predictor"} is as good or better`))),
        el("div", {}, el("dt", {}, "Size and time"), el("dd", {}, is(best.size) ? best.size.toLocaleString("en") : "–", el("small", {}, `parameters; ${duration(best.seconds)} a run`)))),
      el("p", { class: "small quiet" }, "Its best run again, from the same seed:"), code(commandOf(best, [best.best])),
      seeds.length > 1 && [el("p", { class: "small quiet" }, "All its seeds:"), code(commandOf(best, seeds))],
      where && el("p", { class: "small" }, "Its best run lies in ", el("a", { href: where.href }, where.path), "."));
  }

  function interval(group, at, width) {
    const y = 10, [mean, , low, high] = group.score, place = (value) => at.log && value <= 0 ? -Infinity : at(value);
    const x = (value) => Math.max(2, Math.min(width - 2, place(value)));
    const left = is(low) && place(low) < 2, right = is(high) && place(high) > width - 2;
    const svg = sv("svg", { width, height: 20, role: "img", "aria-label": `mean ${short(group.score[0])}, 95 % interval ${short(group.score[2])} to ${short(group.score[3])}${left || right ? ", which goes on beyond the picture" : ""}` });
    // an arrow where the interval goes on beyond the picture
    if (left) svg.append(sv("path", { class: "beyond", d: `M0 ${y}L7 ${y - 5}V${y + 5}Z`, fill: "var(--c0)" }));
    if (right) svg.append(sv("path", { class: "beyond", d: `M${width} ${y}L${width - 7} ${y - 5}V${y + 5}Z`, fill: "var(--c0)" }));
    if (is(low)) svg.append(sv("line", { x1: x(low), x2: x(high), y1: y, y2: y, stroke: "var(--c0)", "stroke-width": 2 }));
    for (const run of group.runs) if (run.counted && is(run.score)) svg.append(sv("circle", { cx: x(run.score), cy: y, r: 2.5, fill: "var(--c1)", "fill-opacity": 0.65 }));
    if (is(mean)) svg.append(sv("line", { x1: x(mean), x2: x(mean), y1: 3, y2: 17, stroke: "var(--c0)", "stroke-width": 2.5 }));
    return svg;
  }

  function leaderboard(board) {
    const ranked = reals(board), monitor = board.metrics.indexOf(board.monitor), test = board.metrics.indexOf(board.test);
    for (const group of board.groups) for (const run of group.runs) run.score = run.metrics[monitor];
    const every = ranked.flatMap((group) => group.runs.filter((run) => run.counted).map((run) => run.score)).concat(ranked.flatMap((group) => state.log ? [] : [group.score[0]]));
    const wide = 170, at = scale(every, 20, wide - 20, state.log && every.every((value) => !is(value) || value > 0));
    const others = new Map(board.comparisons.map((each, index) => [ranked[index + 1], each]));
    const columns = [
      { name: "#", num: true, value: (group) => group.rank, cell: (group) => group.rank ?? "" },
      ...(board.parameters.length ? board.parameters.map((key, index) => ({ name: broken(key), value: (group) => group.values[index], num: board.groups.every((group) => typeof group.values[index] === "number"), cell: (group) => { const value = group.values[index]; return typeof value === "number" ? short(value) : value; } }))
        : [{ name: "configuration", value: (group) => group.name, cell: (group) => group.name }]),
      { name: "n", num: true, title: "seeds done and counted, of all runs", value: (group) => group.n, cell: (group) => group.n + group.repeats === group.runs.length ? group.n : `${group.n} of ${group.runs.length - group.repeats}` },
      { name: `${board.monitor} ± std`, num: true, value: (group) => group.score[0], cell: (group) => is(group.score[0]) ? plusMinus(group.score[0], group.score[1]) : el("span", { class: "quiet" }, Object.entries(group.states).map(([name, number]) => `${number} ${name}`).join(", ")) },
      { name: "95 % interval", num: true, value: (group) => is(group.score[2]) ? group.score[3] - group.score[2] : null, cell: (group) => is(group.score[2]) ? range(group.score[2], group.score[3]) : group.n === 1 ? "one seed" : "" },
      { name: el("span", {}, "seeds, mean, interval", el("br"), sv("svg", { width: wide, height: 14 }, spaced(labelled(ticks(at, 3), 2), at).map(([value, text]) => sv("text", { x: at(value), y: 11, "text-anchor": "middle" }, text)))), cell: (group) => group.rank ? interval(group, at, wide) : "" },
      { name: board.test, num: true, value: (group) => group.test[0], cell: (group) => is(group.test[0]) ? plusMinus(group.test[0], group.test[1]) : "" },
      { name: board.trivial ? `baseline (${board.trivial})` : "baseline", num: true, title: "of the trivial predictor on the same test data", value: (group) => group.baseline, cell: (group) => is(group.baseline) ? short(group.baseline) : "" },
      ...(board.groups.some((group) => group.verdict) ? [{ name: "verdict", title: "beside the best baseline, on the test data", value: (group) => group.verdict, cell: (group) => group.verdict ? el("span", { class: group.verdict.startsWith("better") ? "good" : "bad" }, group.verdict) : "" }] : []),
      { name: "p (Holm)", num: true, title: "paired t test against the best", value: (group) => { const each = others.get(group); return each ? each[6] : null; }, cell: (group) => others.has(group) ? probability(others.get(group)[6]) : group.rank === 1 ? "best" : "" },
      { name: "parameters", num: true, value: (group) => group.size, cell: (group) => is(group.size) ? group.size.toLocaleString("en") : "" },
      { name: "seconds", num: true, value: (group) => group.seconds, cell: (group) => is(group.seconds) ? short(group.seconds, 3) : "" },
    ];
    const repeats = board.groups.reduce((sum, group) => sum + group.repeats, 0);
    const different = board.parameters.filter((key) => key.startsWith("data."));
    return card("leaderboard", "Leaderboard",
      `Grouped by everything but the seed, ranked by the mean of ${board.monitor} on validation. A row opens to its runs.${board.common.length ? ` All have ${board.common.join(" ")}.` : ""}`,
      different.length > 0 && el("p", { class: "warn" }, `The groups differ in ${different.join(", ")}: scores on different data are no fair race. Look at each beside its baseline.`),
      repeats > 0 && el("p", { class: "warn" }, `${plural(repeats, "run")} repeat${repeats === 1 ? "s" : ""} a configuration with a seed that another run has: counted once, the latest, since a repeat is no new evidence.`),
      sortable(columns, board.groups, {
        by: 0, label: "Leaderboard", hint: "lstm 0.01", best: (group) => group.rank === 1, text: (group) => group.name,
        detail: (group) => detail(board, group, monitor, test),
      }));
  }

  function detail(board, group, monitor, test) {
    const wanted = board.metrics.filter((name, index) => index !== monitor && index !== test && /^(test|rollout)\//.test(name)).slice(0, 6);
    const kept = board.metrics.indexOf("best_epoch");
    const cell = (run, name) => short(run.metrics[board.metrics.indexOf(name)]);
    return el("div", {},
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["seed", "state", "best epoch", board.monitor, board.test, ...wanted, "run"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, group.runs.map((run) => el("tr", {},
          el("td", {}, String(run.seed)), el("td", { class: run.state === "failed" ? "bad" : "" }, run.state + (run.state === "done" && !run.counted ? ", not counted" : "")), el("td", {}, is(run.metrics[kept]) ? `${run.metrics[kept]} of ${run.epoch ?? run.metrics[kept]}` : is(run.epoch) ? `after ${run.epoch}` : ""),
          el("td", {}, is(run.metrics[monitor]) ? short(run.metrics[monitor]) : is(run.far) ? `${short(run.far)} so far` : "–"), el("td", {}, short(run.metrics[test])),
          wanted.map((name) => el("td", {}, cell(run, name))), el("td", {}, el("a", { href: run.href }, run.path))))))),
      code(commandOf(group, [group.best ?? group.runs[0].seed])),
      group.figures.length > 0 && el("div", { class: "thumbs" }, group.figures.map((source) => {
        const image = el("a", { href: source }, el("img", { src: source, loading: "lazy", alt: decodeURIComponent(source.split("/").pop()), onerror: () => image.remove() }));
        return image;
      })));
  }

  function curves(board) {
    if (!board.curves.length) return null;
    const drawn = board.groups.filter((group) => group.curves.some(Boolean));
    if (!drawn.length) return null;
    let which = 0, focus = null, log = null;
    const hidden = new Set();
    const beyond = el("p", { class: "small quiet", hidden: true }, "▲ A band goes on beyond the picture, which is fitted to the means.");
    const plot = figure(380, "Learning curves by group", (svg, width, height) => {
      const box = { left: 58, right: width - 12, top: 24, bottom: height - 42 };
      const there = drawn.map((group, index) => [group, index, group.curves[which]]).filter(([, index, curve]) => curve && !hidden.has(index) && index < COLOURED + GREY_CURVES);
      // the axis is fitted to means; a wild first epoch's spread must not flatten all the rest
      const means = there.flatMap(([, , curve]) => finite(curve[1]));
      const useLog = log ?? wantsLog(means);
      const x = scale(there.flatMap(([, , curve]) => [curve[0][0], curve[0][curve[0].length - 1]]), box.left, box.right, false);
      const y = scale(means, box.bottom, box.top, useLog && means.every((value) => value > 0));
      axes(svg, x, y, box, { x: "epoch", y: board.curves[which], shift: 46 });
      const floor = (value) => Math.max(box.top - 14, Math.min(box.bottom, y.log && value <= 0 ? box.bottom : y(value)));
      const path = (xs, ys) => { let text = "", pen = false; xs.forEach((epoch, i) => { if (!is(ys[i])) { pen = false; return; } text += `${pen ? "L" : "M"}${x(epoch).toFixed(1)} ${floor(ys[i]).toFixed(1)}`; pen = true; }); return text; };
      let cuts = false;
      for (const [group, index, curve] of [...there].reverse()) {
        const [epochs, mean, low, high, count] = curve, strong = index < COLOURED || focus === index, paint = index < COLOURED ? colour(index) : "var(--faint)";
        if (strong && group.runs.length > 1) {
          const there = epochs.map((_, i) => i).filter((i) => is(low[i]));
          const edge = (i, side) => `${x(epochs[i]).toFixed(1)} ${floor(side[i]).toFixed(1)}`;
          svg.append(sv("path", { d: `M${there.map((i) => edge(i, high)).join("L")}L${[...there].reverse().map((i) => edge(i, low)).join("L")}Z`, fill: paint, "fill-opacity": focus === null || focus === index ? 0.14 : 0.04, stroke: "none" }));
        }
        if (strong && group.runs.length > 1) {
          // a mark in the middle of each stretch that the frame cuts
          let from = null;
          for (let i = 0; i <= epochs.length; i++) {
            const cut = i < epochs.length && is(high[i]) && y(high[i]) < box.top - 14;
            if (cut && from === null) from = i;
            if (!cut && from !== null) { const px = (x(epochs[from]) + x(epochs[i - 1])) / 2; svg.append(sv("path", { class: "beyond", d: `M${px} ${box.top - 14}l5 7h-10Z`, fill: paint })); from = null; cuts = true; }
          }
        }
        const full = count.length ? count.findIndex((n) => n < highest(count)) : -1;
        const style = { fill: "none", stroke: paint, "stroke-width": strong ? (focus === index ? 3.2 : 2) : 1, "stroke-opacity": !strong ? 0.5 : focus === null || focus === index ? 1 : 0.25, "stroke-dasharray": index < COLOURED ? DASHES[index] : "" };
        // where not all seeds are left (early stopping, failures) the mean is of fewer: a thinner, paler line says so
        if (full < 1) svg.append(sv("path", { ...style, d: path(epochs, mean) }));
        else svg.append(sv("path", { ...style, d: path(epochs.slice(0, full), mean.slice(0, full)) }), sv("path", { ...style, d: path(epochs.slice(full - 1), mean.slice(full - 1)), "stroke-width": 1, "stroke-opacity": 0.6 }));
        if (strong && epochs.length === 1) svg.append(sv("circle", { cx: x(epochs[0]), cy: floor(mean[0]), r: 4, fill: paint }));
      }
      const column = board.metrics.indexOf(board.curves[which]), epoch = board.metrics.indexOf("best_epoch");
      for (const [group, index] of there) {
        if (index >= COLOURED || column < 0 || epoch < 0) continue;
        for (const run of group.runs) {
          const [at, score] = [run.metrics[epoch], run.metrics[column]];
          if (!is(at) || !is(score) || (y.log && score <= 0)) continue;
          svg.append(sv("path", { class: "kept", d: star(x(at), floor(score), 7), fill: colour(index), stroke: "var(--card)", "fill-opacity": focus === null || focus === index ? 1 : 0.25, ...tipped(`${group.name}, seed ${run.seed}\nepoch ${at}, whose weights are kept: ${board.curves[which]} ${short(score)}`) }));
        }
      }
      beyond.hidden = !cuts;
      const cursor = sv("line", { class: "axis", y1: box.top, y2: box.bottom, visibility: "hidden" });
      svg.append(cursor, sv("rect", { x: box.left, y: box.top, width: Math.max(0, box.right - box.left), height: box.bottom - box.top, fill: "transparent",
        onpointermove: (event) => {
          const bounds = svg.getBoundingClientRect(), epoch = x.back(event.clientX - bounds.left), place = event.clientY - bounds.top;
          cursor.setAttribute("x1", event.clientX - bounds.left); cursor.setAttribute("x2", event.clientX - bounds.left); cursor.setAttribute("visibility", "visible");
          const near = there.map(([group, index, curve]) => { let i = 0; curve[0].forEach((value, k) => { if (Math.abs(value - epoch) < Math.abs(curve[0][i] - epoch)) i = k; }); return { group, index, epoch: curve[0][i], mean: curve[1][i], low: curve[2][i], high: curve[3][i] }; })
            .filter((each) => is(each.mean)).sort((a, b) => Math.abs(floor(a.mean) - place) - Math.abs(floor(b.mean) - place)).slice(0, 4);
          if (near.length) showTip(event, `epoch ${near[0].epoch}\n` + near.map((each) => `${short(each.mean, 3)}  (${short(each.low, 3)} – ${short(each.high, 3)})  ${each.group.name}`).join("\n"));
        }, onpointerleave: () => { hideTip(); cursor.setAttribute("visibility", "hidden"); } }));
    });
    const key = el("div", { class: "key" }, drawn.slice(0, COLOURED).map((group, index) => {
      const button = el("button", { type: "button", "aria-pressed": "true", title: "show or hide", onclick: () => { const off = !hidden.has(index); if (off) hidden.add(index); else hidden.delete(index); button.setAttribute("aria-pressed", String(!off)); plot.redraw(); },
        onpointerenter: () => { focus = index; plot.redraw(); }, onpointerleave: () => { focus = null; plot.redraw(); }, onfocus: () => { focus = index; plot.redraw(); }, onblur: () => { focus = null; plot.redraw(); } },
        el("span", { class: "swatch", style: { borderTopColor: colour(index), borderTopStyle: DASHES[index] ? (index % 2 ? "dashed" : "dotted") : "solid" } }), `${group.rank ?? "–"}  ${group.name}`);
      return button;
    }));
    const notes = [`The line is the mean over a group's seeds, the band reaches from its lowest to its highest; a thin end of a line is a mean of fewer seeds. Runs that are at work or have failed are in it as far as they came. A star is the epoch whose weights a run keeps: its best by ${board.monitor}.`];
    if (drawn.length > COLOURED) notes.push(`The first ${COLOURED} of ${drawn.length} groups are in colour${drawn.length > COLOURED + GREY_CURVES ? `, the next ${GREY_CURVES} in grey, the rest left out` : ", the others in grey"}.`);
    if (board.averaged > 1) notes.push(`Long curves are averaged over up to ${board.averaged} epochs a point; their bands keep every extreme.`);
    if (board.omitted.length) notes.push(`So many runs: ${board.omitted.join(", ")} are left out here and stand in each run's metrics.csv.`);
    const controls = el("div", { class: "bar" }, choose("Score", board.curves.map((name, index) => [index, name]), 0, (value) => { which = Number(value); plot.redraw(); }),
      choose("Scale", [["auto", "automatic"], ["linear", "linear"], ["log", "logarithmic"]], "auto", (value) => { log = value === "auto" ? null : value === "log"; plot.redraw(); }));
    return card("curves", "Learning curves", notes.join(" "), controls, plot, beyond, key);
  }

  // what a parameter alone explains of the variance between the groups' means: between-value sum of squares over all
  function explained(points) {
    const cells = Map.groupBy ? Map.groupBy(points, (point) => String(point.value)) : points.reduce((map, point) => map.set(String(point.value), [...(map.get(String(point.value)) || []), point]), new Map());
    if (cells.size < 2 || cells.size > points.length / 2) return null;
    const f = (value) => state.log && value > 0 ? Math.log(value) : value, mean = (list) => list.reduce((sum, point) => sum + f(point.score), 0) / list.length;
    const whole = mean(points), total = points.reduce((sum, point) => sum + (f(point.score) - whole) ** 2, 0);
    let between = 0;
    for (const list of cells.values()) between += list.length * (mean(list) - whole) ** 2;
    return total > 0 ? between / total : null;
  }

  function values(board, index, groups = reals(board)) {
    const found = [...new Set(groups.map((group) => group.values[index]))];
    const numeric = found.every((value) => typeof value === "number");
    found.sort((a, b) => numeric ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    return { found, numeric, log: numeric && evenerByRatio(found) };
  }

  // where a parameter's values stand between two places: numbers by their size or its logarithm, else side by side
  function placed(info, from, to) {
    if (info.numeric && info.found.length > 1) {
      const at = scale(info.found, from, to, info.log), places = info.found.map(at);
      at.step = lowest(places.slice(1).map((place, index) => Math.abs(place - places[index])));
      return at;
    }
    const step = (to - from) / info.found.length, at = (value) => from + (info.found.indexOf(value) + 0.5) * step;
    at.band = true; at.step = Math.abs(step);
    return at;
  }
  // values with their texts, numbers or words
  const named = (found, longest) => found.every((value) => typeof value === "number") ? labelled(found) : found.map((value) => [value, shortWord(value, longest)]);
  const shortWord = (value, longest) => { const text = typeof value === "number" ? short(value) : value; return text.length > longest ? `${text.slice(0, longest - 1)}…` : text; };
  function valueTicks(svg, at, info, y, width) {
    const most = Math.max(2, Math.floor(width / 62)), step = at.band || info.found.length <= most ? Math.ceil(info.found.length / most) : 0;
    const chosen = step ? info.found.filter((_, index) => index % step === 0) : ticks(at, most);
    const marks = named(chosen, 14);
    for (const [value, name] of at.band ? marks : spaced(marks, at)) {
      svg.append(sv("line", { class: "axis", x1: at(value), x2: at(value), y1: y, y2: y + 4 }), sv("text", { x: at(value), y: y + 17, "text-anchor": "middle" }, name));
    }
  }

  function parameters(board) {
    const ranked = reals(board);
    if (ranked.length < 2 || !board.parameters.length) return null;
    const infos = board.parameters.map((_, index) => values(board, index)), swept = board.parameters.map((_, index) => index).filter((index) => infos[index].found.length > 1);
    if (!swept.length) return null;
    const share = new Map(swept.map((index) => [index, explained(ranked.map((group) => ({ value: group.values[index], score: group.score[0] })))]));
    swept.sort((a, b) => (share.get(b) ?? -1) - (share.get(a) ?? -1));
    const plots = swept.slice(0, 12).map((index) => {
      const info = infos[index], part = share.get(index);
      const without = [...new Set(board.groups.filter((group) => group.rank === null && group.states.failed).map((group) => group.values[index]))].filter((value) => !info.found.includes(value));
      const plot = figure(230, `${board.monitor} against ${board.parameters[index]}`, (svg, width, height) => {
        const box = { left: 56, right: width - 8, top: 12, bottom: height - 28 };
        const y = scale(ranked.map((group) => group.score[0]), box.bottom, box.top, state.log), x = placed(info, box.left + 6, box.right - 6);
        axes(svg, null, y, box, {});
        valueTicks(svg, x, info, box.bottom, box.right - box.left);
        if (info.found.length <= MOST_CELLS && info.found.length < ranked.length) {
          const means = info.found.map((value) => { const list = ranked.filter((group) => group.values[index] === value).map((group) => group.score[0]); return [value, state.log ? Math.exp(list.reduce((sum, each) => sum + Math.log(each), 0) / list.length) : list.reduce((sum, each) => sum + each, 0) / list.length]; });
          if (info.numeric) svg.append(sv("path", { d: `M${means.map(([value, mean]) => `${x(value)} ${y(mean)}`).join("L")}`, fill: "none", stroke: "var(--c0)", "stroke-opacity": 0.5 }));
          for (const [value, mean] of means) svg.append(sv("line", { x1: x(value) - 11, x2: x(value) + 11, y1: y(mean), y2: y(mean), stroke: "var(--c0)", "stroke-width": 3 }));
        }
        ranked.forEach((group, order) => {
          // side by side where many have one value, always in the same way
          const aside = info.found.length < ranked.length ? ((order * 0.618034) % 1 - 0.5) * Math.min(24, x.step * 0.5) : 0;
          svg.append(sv("circle", { cx: x(group.values[index]) + aside, cy: y(group.score[0]), r: group.rank === 1 ? 5.5 : 3.2, fill: group.rank === 1 ? "var(--c1)" : "var(--quiet)", "fill-opacity": group.rank === 1 ? 1 : 0.5, ...tipped(`${group.name}\n${board.monitor} ${plusMinus(group.score[0], group.score[1])}, rank ${group.rank}`) }));
        });
      });
      return el("div", {}, el("h3", {}, board.parameters[index]), el("figcaption", {}, part === null ? "many values: each group a dot" : `alone explains ${(100 * part).toFixed(0)} % of the variance between groups`, without.length > 0 && el("span", { class: "bad" }, `; every run failed at ${without.slice(0, 5).map((value) => typeof value === "number" ? short(value) : value).join(", ")}`)), plot);
    });
    return card("parameters", "What each parameter did",
      `Each dot is a group's mean of ${board.monitor}${state.log ? ", on a logarithmic axis" : ""}; the orange one is the best; the blue bar is the mean of the groups that have that value, whatever else they have. The shares of the variance are no causes: where not all combinations were run, parameters that went together share the credit.`,
      el("div", { class: "grid" }, plots), swept.length > 12 && el("p", { class: "quiet small" }, `${swept.length - 12} more parameters vary.`),
      swept.length > 1 && heat(board, ranked, infos, swept));
  }

  function heat(board, ranked, infos, swept) {
    let across = swept[0], up = swept[1], how = "mean";
    const caption = el("figcaption");
    const plot = figure(360, "Heat map of the score over two parameters", (svg, width, height) => {
      const good = goodness(board, ranked.map((group) => group.score[0]));
      // values that no run survived are part of the picture, where there are cells to show them
      const [a, b] = [across, up].map((index) => { const all = values(board, index, board.groups); return all.found.length <= MOST_CELLS ? all : infos[index]; });
      const longest = Math.max(...b.found.map((value) => String(typeof value === "number" ? short(value, 3) : value).length), 3);
      const box = { left: Math.min(130, 16 + 7.2 * longest), right: width - 8, top: 24, bottom: height - 66 };
      const cells = a.found.length <= MOST_CELLS && b.found.length <= MOST_CELLS;
      const x = cells ? Object.assign((value) => box.left + (a.found.indexOf(value) + 0.5) * (box.right - box.left) / a.found.length, { band: true }) : placed(a, box.left, box.right);
      const y = cells ? (value) => box.bottom - (b.found.indexOf(value) + 0.5) * (box.bottom - box.top) / b.found.length : placed(b, box.bottom, box.top);
      caption.textContent = cells ? `Each cell: the ${how === "mean" ? "mean" : "best"} of ${board.monitor} over the groups that have both values; a dashed cell has no finished run.` : `Too many values for cells: each dot is a group, its colour its ${board.monitor}.`;
      if (cells) for (const p of a.found) for (const q of b.found) {
        const list = ranked.filter((group) => group.values[across] === p && group.values[up] === q), scores = list.map((group) => group.score[0]);
        const w = (box.right - box.left) / a.found.length, h = (box.bottom - box.top) / b.found.length;
        const rect = { x: x(p) - w / 2 + 1, y: y(q) - h / 2 + 1, width: Math.max(1, w - 2), height: Math.max(1, h - 2), rx: 3 };
        if (!scores.length) {
          const lost = board.groups.filter((group) => group.values[across] === p && group.values[up] === q).flatMap((group) => group.runs), failed = lost.filter((run) => run.state === "failed").length;
          svg.append(sv("rect", { ...rect, fill: "transparent", class: "rule", "stroke-dasharray": "3 3", ...tipped(lost.length ? `${plural(lost.length, "run")}, ${failed} failed, none done` : "not run") }));
          if (failed && w > 44 && h > 16) svg.append(sv("text", { x: x(p), y: y(q) + 4, "text-anchor": "middle", style: { fill: "var(--bad)", pointerEvents: "none" } }, w > 80 ? "✗ all failed" : "✗"));
          continue;
        }
        const score = how === "mean" ? scores.reduce((sum, each) => sum + each, 0) / scores.length : board.mode === "min" ? lowest(scores) : highest(scores), rgb = viridis(good(score));
        svg.append(sv("rect", { ...rect, fill: css(rgb), ...tipped(`${board.parameters[across]}=${p}, ${board.parameters[up]}=${q}\n${how} of ${plural(scores.length, "group")}: ${short(score)}`) }));
        if (w > 44 && h > 16) svg.append(sv("text", { x: x(p), y: y(q) + 4, "text-anchor": "middle", style: { fill: dark(rgb) ? "#fff" : "#111", pointerEvents: "none" } }, short(score, 3)));
      } else for (const group of [...ranked].reverse()) svg.append(sv("circle", { cx: x(group.values[across]), cy: y(group.values[up]), r: 5, fill: css(viridis(good(group.score[0]))), stroke: "var(--card)", ...tipped(`${group.name}\n${short(group.score[0])}`) }));
      valueTicks(svg, x, a, box.bottom, box.right - box.left);
      for (const [value, text] of named(cells || y.band ? b.found : ticks(y, 6), 15)) svg.append(sv("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
      svg.append(sv("text", { class: "ink", x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" }, board.parameters[across]), sv("text", { class: "ink", x: 0, y: 14 }, board.parameters[up]));
      // the scale of the colours
      const wide = Math.min(220, width / 2), left = box.right - wide, scores = ranked.map((group) => group.score[0]), worst = board.mode === "min" ? highest(scores) : lowest(scores), best = ranked[0].score[0];
      for (let i = 0; i < 40; i++) svg.append(sv("rect", { x: left + i * wide / 40, y: height - 24, width: wide / 40 + 0.5, height: 8, fill: css(viridis(i / 39)) }));
      svg.append(sv("text", { x: left, y: height - 3 }, `${short(worst, 3)} worst`), sv("text", { x: box.right, y: height - 3, "text-anchor": "end" }, `best ${short(best, 3)}`));
    });
    const options = swept.map((index) => [index, board.parameters[index]]);
    return el("div", {}, el("h3", {}, "Two parameters together"),
      el("div", { class: "bar" }, choose("Across", options, across, (value) => { across = Number(value); plot.redraw(); }), choose("Up", options, up, (value) => { up = Number(value); plot.redraw(); }),
        choose("Cell", [["mean", "mean of its groups"], ["best", "best of its groups"]], how, (value) => { how = value; plot.redraw(); })), caption, plot);
  }

  function parallel(board) {
    const ranked = reals(board), infos = board.parameters.map((_, index) => values(board, index));
    const swept = board.parameters.map((_, index) => index).filter((index) => infos[index].found.length > 1), axes = swept.length;
    swept.splice(10);
    if (swept.length < 2 || ranked.length < 3) return null;
    const said = el("p", { class: "small", role: "status" }), brushes = new Map();
    const plot = figure(340, "Parallel coordinates: a line a group, an axis a parameter, the score at the right", (svg, width, height, holder) => {
      svg.classList.add("over");
      const box = { left: 34, right: width - 46, top: 44, bottom: height - 14 }, count = swept.length + 1;
      const gap = (box.right - box.left) / (count - 1), good = goodness(board, ranked.map((group) => group.score[0]));
      const list = swept.map((index, order) => ({ key: order, name: board.parameters[index], info: infos[index], at: placed(infos[index], box.bottom, box.top), of: (group) => group.values[index] }));
      const up = board.mode === "min" ? [box.top, box.bottom] : [box.bottom, box.top]; // the best is always at the top
      list.push({ key: "score", name: board.monitor, info: null, at: scale(ranked.map((group) => group.score[0]), up[0], up[1], state.log), of: (group) => group.score[0] });
      list.forEach((axis, order) => { axis.x = box.left + order * gap; });
      const canvas = el("canvas", { width: width * devicePixelRatio, height: height * devicePixelRatio, style: { width: `${width}px`, height: `${height}px` }, "aria-hidden": "true" });
      holder.prepend(canvas);
      const pen = canvas.getContext("2d");
      pen.scale(devicePixelRatio, devicePixelRatio);
      const grey = getComputedStyle(document.documentElement).getPropertyValue("--line");
      const passes = (group) => list.every((axis) => { const range = brushes.get(axis.key); if (!range) return true; const place = axis.at(axis.of(group)); return place >= range[0] - 0.5 && place <= range[1] + 0.5; });
      const line = (group) => { pen.beginPath(); list.forEach((axis, order) => { const y = axis.at(axis.of(group)); if (order) { const before = list[order - 1], from = before.at(before.of(group)), half = (axis.x - before.x) / 2; pen.bezierCurveTo(before.x + half, from, axis.x - half, y, axis.x, y); } else pen.moveTo(axis.x, y); }); pen.stroke(); };
      function paint(hover) {
        pen.clearRect(0, 0, width, height);
        const chosen = ranked.filter(passes), out = ranked.filter((group) => !passes(group));
        pen.strokeStyle = grey; pen.lineWidth = 1; pen.globalAlpha = 0.8; out.forEach(line);
        pen.globalAlpha = Math.max(0.25, Math.min(0.9, 60 / chosen.length));
        for (const group of [...chosen].reverse()) { pen.strokeStyle = css(viridis(0.94 * good(group.score[0]))); pen.lineWidth = group.rank <= 3 ? 2.6 : 1.5; if (group.rank <= 3) pen.globalAlpha = 1; line(group); }
        if (hover) { pen.globalAlpha = 1; pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--c1"); pen.lineWidth = 3.5; line(hover); }
        said.textContent = brushes.size ? (chosen.length ? `${chosen.length} of ${ranked.length} groups; the best of them is rank ${chosen[0].rank}: ${chosen[0].name}, ${short(chosen[0].score[0])}` : "No group lies there.") : "";
      }
      for (const axis of list) {
        const band = sv("rect", { x: axis.x - 9, width: 18, y: 0, height: 0, rx: 3, fill: "var(--accent)", "fill-opacity": 0.25, "pointer-events": "none" });
        const place = () => { const range = brushes.get(axis.key); band.setAttribute("y", range ? range[0] : 0); band.setAttribute("height", range ? range[1] - range[0] : 0); paint(); };
        const clear = () => { brushes.delete(axis.key); place(); };
        let from = null;
        const at = (event) => Math.max(box.top, Math.min(box.bottom, event.clientY - svg.getBoundingClientRect().top));
        const step = (box.bottom - box.top) / 6;
        const letters = Math.max(6, Math.min(22, Math.floor(gap * (list.length > 4 ? 2 : 1) / 7)));
        const first = axis === list[0], last = axis === list[list.length - 1];
        svg.append(sv("line", { class: "axis", x1: axis.x, x2: axis.x, y1: box.top, y2: box.bottom }), band,
          sv("text", { class: "ink", x: first ? 0 : last ? width : axis.x, y: list.length > 4 && axis.key % 2 ? 30 : 14, "text-anchor": first ? "start" : last ? "end" : "middle" }, axis.name.length > letters ? `…${axis.name.slice(1 - letters)}` : axis.name));
        const marks = axis.info && (axis.at.band || axis.info.found.length <= 8) ? axis.info.found : ticks(axis.at, 5);
        let above = Infinity;
        for (const [value, text] of named(marks, 14)) {
          const place = axis.at(value);
          if (Math.abs(place - above) < 14) continue;
          above = place;
          svg.append(sv("text", { class: "ink", x: axis.x + 6, y: place + 4, style: { paintOrder: "stroke", stroke: "var(--card)", strokeWidth: "3px" } }, text));
        }
        svg.append(sv("rect", { x: axis.x - 14, y: box.top - 6, width: 28, height: box.bottom - box.top + 12, fill: "transparent", tabindex: 0, role: "button", style: { cursor: "ns-resize", touchAction: "none" }, "aria-label": `${axis.name}: drag, or arrow keys, to choose a range; Escape for all`,
          onpointerdown: (event) => { from = at(event); event.target.setPointerCapture(event.pointerId); }, onpointermove: (event) => { if (from === null) return; brushes.set(axis.key, [Math.min(from, at(event)), Math.max(from, at(event))]); place(); },
          onpointerup: (event) => { if (from !== null && Math.abs(at(event) - from) < 4) clear(); from = null; }, ondblclick: clear,
          onkeydown: (event) => { const way = { ArrowUp: -1, ArrowDown: 1 }[event.key]; if (event.key === "Escape") clear(); else if (way) { event.preventDefault(); const now = brushes.get(axis.key), top = now ? Math.max(box.top, Math.min(box.bottom - step, now[0] + way * step)) : way > 0 ? box.top : box.bottom - step; brushes.set(axis.key, [top, top + step]); place(); } } }));
        if (brushes.size) place();
      }
      svg.addEventListener("pointermove", (event) => {
        if (event.buttons) return;
        const bounds = svg.getBoundingClientRect(), px = event.clientX - bounds.left, py = event.clientY - bounds.top, order = Math.floor((px - box.left) / gap);
        if (order < 0 || order >= list.length - 1) { hideTip(); paint(); return; }
        const share = (px - list[order].x) / gap, smooth = share * share * (3 - 2 * share);
        let near = null, gapTo = 9;
        for (const group of ranked) { if (!passes(group)) continue; const a = list[order].at(list[order].of(group)), b = list[order + 1].at(list[order + 1].of(group)), distance = Math.abs(a + (b - a) * smooth - py); if (distance < gapTo) { gapTo = distance; near = group; } }
        paint(near);
        if (near) showTip(event, `rank ${near.rank}: ${near.name}\n${board.monitor} ${plusMinus(near.score[0], near.score[1])}`); else hideTip();
      });
      svg.addEventListener("pointerleave", () => { hideTip(); paint(); });
      paint();
    });
    return card("parallel", "Parallel coordinates", "A line is a group, from value to value to its score; brighter is better, and the best is at the top of the last axis. Drag along an axis to look at a range; a click on it clears." + (axes > 10 ? ` The first 10 of ${axes} parameters are here.` : ""), plot, said);
  }

  function front(groups, cost, mode) {
    const sign = mode === "min" ? 1 : -1, chosen = [];
    for (const group of groups.filter((each) => is(cost(each))).sort((a, b) => cost(a) - cost(b) || sign * (a.score[0] - b.score[0])))
      if (!chosen.length || sign * group.score[0] < sign * chosen[chosen.length - 1].score[0]) chosen.push(group);
    return chosen;
  }

  function costs(board) {
    const ranked = reals(board);
    if (ranked.length < 2) return null;
    const parts = [["parameters", (group) => group.size], ["seconds of training", (group) => group.seconds]].map(([name, cost]) => {
      const there = ranked.filter((group) => is(cost(group)) && cost(group) > 0), best = front(there, cost, board.mode);
      if (there.length < 2) return null;
      const plot = figure(300, `${board.monitor} against ${name}, with the Pareto front`, (svg, width, height) => {
        const box = { left: 58, right: width - 12, top: 24, bottom: height - 42 };
        const x = scale(there.map(cost), box.left, box.right, highest(there.map(cost)) > 3 * lowest(there.map(cost))), y = scale(there.map((group) => group.score[0]), box.bottom, box.top, state.log);
        axes(svg, x, y, box, { x: name, y: board.monitor, shift: 46 });
        svg.append(sv("path", { d: best.map((group, index) => `${index ? `H${x(cost(group)).toFixed(1)}V` : `M${x(cost(group)).toFixed(1)} `}${y(group.score[0]).toFixed(1)}`).join("") + `H${box.right}`, fill: "none", stroke: "var(--c1)", "stroke-width": 1.6, "stroke-dasharray": "5 3" }));
        for (const group of [...there].reverse()) { const on = best.includes(group); svg.append(sv("circle", { cx: x(cost(group)), cy: y(group.score[0]), r: on ? 5.5 : 3.5, fill: on ? "var(--c1)" : "var(--c0)", "fill-opacity": on ? 1 : 0.5, ...tipped(`${group.name}\n${short(cost(group))} ${name}, ${board.monitor} ${plusMinus(group.score[0], group.score[1])}`) })); }
      });
      return el("div", {}, el("h3", {}, `By ${name}`), plot, el("details", {}, el("summary", { class: "small" }, `The front: ${plural(best.length, "group")}`), el("ul", { class: "small" }, best.map((group) => el("li", {}, `${short(cost(group))}: ${short(group.score[0])} with ${group.name}`)))));
    });
    if (!parts.some(Boolean)) return null;
    return card("cost", "What a better score costs", "Groups on the dashed Pareto front are beaten by none that costs as little. Seconds are of training on the machine of each run.", el("div", { class: "grid" }, parts));
  }

  function significance(board) {
    const ranked = reals(board);
    if (ranked.length < 2) return null;
    const rows = board.comparisons.map((each, index) => ({ each, group: ranked[index + 1] }));
    const sign = board.mode === "min" ? 1 : -1, tested = rows.filter((row) => is(row.each[5])).length;
    const columns = [
      { name: "#", num: true, value: (row) => row.group.rank, cell: (row) => row.group.rank },
      { name: "against", value: (row) => row.group.name, cell: (row) => row.group.name, wrap: true },
      { name: "seeds in common", num: true, value: (row) => row.each[0], cell: (row) => row.each[0] },
      { name: "best wins on", num: true, value: (row) => row.each[1], cell: (row) => `${row.each[1]} of ${row.each[0]}` },
      { name: "worse by", num: true, value: (row) => is(row.each[2]) ? sign * row.each[2] : null, cell: (row) => is(row.each[2]) ? short(sign * row.each[2], 3) : "–" },
      { name: "95 % interval", num: true, cell: (row) => { const ends = [row.each[3], row.each[4]].filter(is).map((value) => sign * value).sort((a, b) => a - b); return ends.length ? range(ends[0], ends[1]) : "–"; } },
      { name: "p", num: true, value: (row) => row.each[5], cell: (row) => probability(row.each[5]) },
      { name: "p (Holm)", num: true, value: (row) => row.each[6], cell: (row) => el("span", { class: is(row.each[6]) && row.each[6] < 0.05 ? "good" : "" }, probability(row.each[6])) },
      { name: "", cell: (row) => !is(row.each[5]) ? el("span", { class: "quiet" }, row.each[0] < 2 ? "needs two common seeds" : "no spread to test against") : row.each[6] < 0.05 ? "told apart" : el("span", { class: "quiet" }, "not told apart") },
    ];
    return card("significance", "Is the best really better?",
      `${board.monitor} of the best group against each other, paired by seed: runs of one seed share initial luck, so that their difference is steadier than the scores. Two-sided paired t test (Student 1908); ${plural(tested, "test")}, corrected by Holm (1979), so that the chance of even one false alarm is 5 %. The best was chosen by these same scores, which flatters it a little; its test score was not. With few seeds the test sees large differences only, and relies on differences that are roughly normal: "best wins on" relies on nothing.`,
      sortable(columns, rows, { by: 0, most: 15, label: "Significance", text: (row) => row.group.name, hint: "gru" }));
  }

  function searches() {
    return data.searches.map((search, index) => card(index ? `search${index + 1}` : "search", data.searches.length > 1 ? `Search ${search.path}` : "The search",
      `${Object.entries(search.trials).map(([name, number]) => `${number} ${name}`).join(", ") || "No trial"} in the study "${search.study}", drawn by Optuna. Importances are estimated from few trials (PED-ANOVA, Watanabe et al. 2023) and are no causes; pruned runs are not ranked.`,
      search.said && el("p", { class: "warn" }, search.said),
      search.figures.map((each) => el("figure", { class: "drawn" }, el("h3", {}, each.title), el("figcaption", {}, each.said), el("img", { src: each.src, alt: `${each.title}: ${each.said}` })))));
  }

  function failures() {
    const all = data.failures;
    if (!all.length && !data.damage.length && !data.pending.length) return null;
    const failed = all.filter((each) => each.state === "failed").length, parts = [];
    if (all.length) {
      const columns = [
        { name: "run", value: (row) => row.path, cell: (row) => el("a", { href: row.href }, row.path), wrap: true },
        { name: "state", value: (row) => row.state, cell: (row) => el("span", { class: row.state === "failed" ? "bad" : "" }, row.state) },
        { name: "epoch", num: true, value: (row) => row.epoch, cell: (row) => row.epoch ?? "–" },
        { name: "why", value: (row) => row.reason, cell: (row) => row.reason, wrap: true },
        { name: "log", cell: (row) => el("a", { href: `${row.href}train.log` }, "train.log") },
      ];
      parts.push(sortable(columns, all, { by: null, most: 100, label: "Failures", text: (row) => `${row.path} ${row.reason}`, hint: "inf" }), el("p", { class: "small quiet" }, "Go on with one: rnnlab resume RUN"));
    }
    if (data.pending.length) {
      const columns = [
        { name: "run", value: (row) => row.path, cell: (row) => el("a", { href: row.href }, row.path), wrap: true }, { name: "state", value: (row) => row.state, cell: (row) => row.state },
        { name: "epoch", num: true, value: (row) => row.epoch, cell: (row) => row.epoch ?? "–" }, { name: "best so far", num: true, value: (row) => row.score, cell: (row) => short(row.score) }, { name: "on", value: (row) => row.host, cell: (row) => row.host },
      ];
      parts.push(el("h3", {}, `${plural(data.pending.length, "run")} not finished`), sortable(columns, data.pending, { by: null, most: 100, label: "Runs at work", text: (row) => row.path }));
    }
    if (data.damage.length) parts.push(el("h3", {}, "Left out"), el("ul", { class: "small" }, data.damage.map((line) => el("li", { class: "bad" }, line))));
    return card("failures", failed ? `${plural(failed, "failure")}` : "Not finished", null, parts);
  }

  function provenance() {
    const from = data.provenance, listed = (pairs) => pairs.map(([value, number]) => pairs.length > 1 ? `${value} (${plural(number, "run")})` : value).join("; ") || "unknown";
    const mixed = Object.entries(from.versions).filter(([, pairs]) => pairs.length > 1).map(([name]) => name);
    const pairs = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
    return card("provenance", "Where this comes from", null,
      from.commits.length > 1 && el("p", { class: "warn" }, `The runs come from ${from.commits.length} states of the code: differences between groups may be the code's.`),
      from.commits.some(([name]) => name.includes("uncommitted")) && el("p", { class: "warn" }, "Some runs were made with changes that no commit holds: they can't be made again for sure."),
      mixed.length > 0 && el("p", { class: "warn" }, `Versions differ between runs: ${mixed.join(", ")}.`),
      from.sweeps.slice(0, 20).map(([path, command, created]) => [el("p", { class: "small quiet" }, `${path === "." ? "This sweep" : `Sweep ${path}`}${created ? `, started ${created.slice(0, 19).replace("T", " ")} UTC` : ""}`), command && code(command)]),
      from.commands.slice(0, 5).map(code), from.commands.length > 5 && el("p", { class: "small quiet" }, "More commands are in the status.json of each run."),
      el("dl", { class: "pairs" },
        pairs("Code (git)", listed(from.commits)), pairs("Versions", Object.entries(from.versions).map(([name, found]) => `${name} ${found.map(([value]) => value).join(" / ")}`).join(", ") || "unknown"),
        pairs("Devices", listed(from.devices)), pairs("Machines", listed(from.hosts)), pairs("Systems", listed(from.platforms)),
        pairs("From – to", from.span[0] ? `${from.span[0].slice(0, 19).replace("T", " ")} – ${(from.span[1] || "").slice(0, 19).replace("T", " ")} UTC` : "unknown"), pairs("Computing", `${duration(from.seconds)} in finished runs`),
        pairs("This page", `rnnlab ${data.version}, ${data.made.slice(0, 19).replace("T", " ")} UTC; its numbers: leaderboard.csv`)),
      el("p", { class: "small quiet" }, "Curves, figures and hyperparameters live, from the directory of this page:"), code("tensorboard --logdir ."));
  }

  // ---- the page ------------------------------------------------------------------------------

  function themeButton() {
    const root = document.documentElement, names = ["auto", "light", "dark"];
    let at = 0;
    const button = el("button", { type: "button", onclick: () => { at = (at + 1) % 3; if (at) root.dataset.theme = names[at]; else delete root.dataset.theme; button.textContent = `Theme: ${names[at]}`; redraws.forEach((redraw) => redraw(true)); } }, "Theme: auto");
    return button;
  }

  function build() {
    redraws.length = 0;
    const board = data.boards[state.board];
    const order = ["done", "pruned", "running", "created", "interrupted", "failed"];
    const chips = Object.entries(data.states).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)).map(([name, number]) => el("span", { class: `chip ${name === "failed" ? "bad" : ""}` }, el("b", {}, number.toLocaleString("en")), ` ${name}`));
    const scores = board ? finite(reals(board).map((group) => group.score[0])) : [];
    if (state.auto !== state.board) { state.log = board && board.mode === "min" && wantsLog(scores, LOG_SCORES_FROM); state.auto = state.board; }
    if (scores.some((score) => score <= 0)) state.log = false;
    const sections = board ? [answer(board), leaderboard(board), significance(board), curves(board), parameters(board), parallel(board), costs(board), ...searches(), failures(), provenance()] : [failures(), provenance()];
    const there = sections.filter(Boolean);
    page.replaceChildren(
      el("header", { class: "top" }, el("div", {}, el("p", { class: "eyebrow" }, "rnnlab report"), el("h1", {}, data.title), el("div", { class: "chips" }, chips, board && el("span", { class: "chip" }, `${board.data} · ${board.task}`))),
        el("div", { class: "bar" }, data.boards.length > 1 && choose("Compared", data.boards.map((each, index) => [index, `${each.data} · ${each.task} · ${each.monitor} (${plural(each.groups.length, "group")})`]), state.board, (value) => { state.board = Number(value); build(); }),
          board && scores.length > 1 && !scores.some((score) => score <= 0) && el("label", {}, el("input", { type: "checkbox", checked: state.log, onchange: (event) => { state.log = event.target.checked; build(); } }), "logarithmic scores"), state.theme || (state.theme = themeButton()))),
      el("nav", { "aria-label": "Sections" }, there.filter((section) => section.id && section.querySelector("h2")).map((section) => el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))),
      ...there);
    redraws.forEach((redraw) => redraw());
  }

  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => redraws.forEach((redraw) => redraw()), 120); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((redraw) => redraw(true)));
  build();
})();
