// Search in pages that are read from the disk: a browser lets no page of file:// start a worker, so that what the
// worker of the search does runs in a hidden frame. Material for MkDocs asks for this name.
"use strict";
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    // written, since some browsers replace the empty document of a frame a moment later
    const page = this.frame.contentDocument;
    page.open();
    page.write("<!doctype html><body></body>");
    page.close();
    const inside = this.frame.contentWindow;
    inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    const load = (source) => new Promise((done, failed) => {
      const script = page.createElement("script");
      Object.assign(script, { src: source, onload: done, onerror: failed });
      page.body.append(script);
    });
    inside.importScripts = (...sources) => sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
    this.ready = load(url);
  }

  postMessage(data) {
    const inside = this.frame.contentWindow;
    this.ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
  }

  terminate() {
    this.frame.remove();
  }
}
if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
