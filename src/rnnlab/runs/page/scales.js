// Numbers, scales and ticks of the report: functions without a page, so that tests can call them.
"use strict";
const LOG_FROM = 20;

const is = (value) => typeof value === "number" && Number.isFinite(value);
function short(value, digits = 4) {
  if (!is(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e").replace(/\.?0+e/, "e");
  if (Number.isInteger(value) && size >= 1000) return value.toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}
const finite = (values) => values.filter(is);
// Math.min(...values) overflows the stack with a hundred thousand of them
const lowest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const highest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function scale(values, from, to, log) {
  values = finite(values).filter((value) => !log || value > 0);
  let low = lowest(values), high = highest(values);
  if (!values.length) { low = log ? 1 : 0; high = log ? 10 : 1; }
  if (low === high) { const by = log ? 2 : Math.abs(low) * 0.1 || 1; low = log ? low / by : low - by; high = log ? high * by : high + by; }
  const f = log ? Math.log : (value) => value;
  const a = f(low), b = f(high), margin = 0.04 * (b - a);
  const at = (value) => from + (to - from) * (f(value) - a + margin) / (b - a + 2 * margin);
  at.log = log; at.low = low; at.high = high;
  at.back = (place) => { const value = (place - from) / (to - from) * (b - a + 2 * margin) + a - margin; return log ? Math.exp(value) : value; };
  return at;
}
const wantsLog = (values, from = LOG_FROM) => { values = finite(values); return values.length > 0 && lowest(values) > 0 && highest(values) > from * lowest(values); };

function ticks(at, most, whole = false) {
  const { low, high, log } = at;
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of high < 8 * low ? [1, 1.5, 2, 3, 4, 5, 7] : [1, 2, 5]) { const value = Number(`${digit}e${power}`); if (value >= low * 0.999 && value <= high * 1.001) found.push(value); }
    const whole = found.filter((value) => /^1(e|0*$)|^0\.0*1$/.test(String(value)));
    const chosen = found.length <= most || whole.length < 2 ? found : whole;
    return chosen.length >= 2 ? chosen.filter((_, i) => i % Math.ceil(chosen.length / most) === 0) : [low, high];
  }
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const least = whole ? 1 : 0;
  const step = Math.max(least, power * [1, 2, 5, 10].find((digit) => digit * power >= rough));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// ticks with their texts: as many digits as it takes for no two to read alike
function labelled(values, digits = 3) {
  for (; ; digits++) {
    const texts = values.map((value) => short(value, digits));
    if (new Set(texts).size === new Set(values).size || digits >= 15) return values.map((value, index) => [value, texts[index]]);
  }
}

// of ticks along a horizontal axis those whose texts don't run into the one before
function spaced(marks, at, letter = 6.6, gap = 8) {
  let end = -Infinity;
  return marks.filter(([value, text]) => {
    const half = text.length * letter / 2, place = at(value);
    if (place - half < end + gap) return false;
    end = place + half;
    return true;
  });
}

// whether numbers are more evenly apart by their ratios than by their differences: 32, 64, 128 but not 1, 2, 3
function evenerByRatio(values) {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  if (sorted.length < 2 || sorted[0] <= 0) return false;
  if (sorted.length === 2) return wantsLog(sorted);
  const unevenness = (f) => { const gaps = sorted.slice(1).map((value, index) => f(value) - f(sorted[index])), mean = gaps.reduce((a, b) => a + b, 0) / gaps.length; return gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / mean ** 2; };
  return unevenness(Math.log) < unevenness((value) => value);
}
