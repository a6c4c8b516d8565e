// In the audio thread: 16-bit samples out of the microphone, and into the loudspeaker.

const FRAME = 320; // 20 ms
const REPORT = 1600; // tell the server every 100 ms how far playback is

class Capture extends AudioWorkletProcessor {
  frame = new Int16Array(FRAME);
  filled = 0;

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.frame[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
        this.frame = new Int16Array(FRAME);
        this.filled = 0;
      }
    }
    return true;
  }
}

class Player extends AudioWorkletProcessor {
  queue = []; // Int16Array, or the name of a mark
  offset = 0; // in the first of them
  paused = false;
  done = 0; // samples that were played or thrown away
  told = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(data) {
    if (data instanceof ArrayBuffer) this.queue.push(new Int16Array(data));
    else if (data.type === "mark") this.queue.push(data.name);
    else if (data.type === "pause") this.paused = true;
    else if (data.type === "resume") this.paused = false;
    else if (data.type === "flush") this.flush();
  }

  flush() {
    for (const each of this.queue) if (each instanceof Int16Array) this.done += each.length;
    this.done -= this.offset;
    this.queue = [];
    this.offset = 0;
    this.paused = false;
    this.report();
  }

  process(_, [output]) {
    const sound = output[0];
    let filled = 0;
    while (!this.paused && this.queue.length) {
      const head = this.queue[0];
      if (typeof head === "string") {
        this.port.postMessage({ type: "mark", name: head });
        this.queue.shift();
        continue;
      }
      if (filled === sound.length) break;
      sound[filled++] = head[this.offset++] / 32768;
      this.done++;
      if (this.offset === head.length) {
        this.queue.shift();
        this.offset = 0;
      }
    }
    if (this.done - this.told >= REPORT) this.report();
    return true;
  }

  report() {
    this.told = this.done;
    this.port.postMessage({ type: "played", samples: this.done });
  }
}

registerProcessor("capture", Capture);
registerProcessor("player", Player);
