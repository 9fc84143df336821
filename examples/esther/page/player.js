// Runs beside the loudspeaker: plays L16 frames as they come, out of a small jitter buffer.

// Held back before playing begins: the network's unevenness, not more.
const HOLD = 0.06;
// Held at most. More than that is a fault of the sender.
const MOST = 20;
// How fast a cut sound fades, so that it does not click.
const FADE = 0.005;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset();
    this.last = 0;
    this.port.onmessage = ({ data }) => {
      if (data === "flush") this.reset();
      else this.push(new DataView(data));
    };
  }

  reset() {
    this.chunks = [];
    this.at = 0;
    this.waiting = 0;
    this.playing = false;
    this.waited = 0;
  }

  push(pcm) {
    const samples = new Float32Array(pcm.byteLength >> 1);
    for (let i = 0; i < samples.length; i++) samples[i] = pcm.getInt16(i * 2, true) / 32768;
    if (samples.length === 0) return;
    this.chunks.push(samples);
    this.waiting += samples.length;
    while (this.waiting > MOST * sampleRate) {
      this.waiting -= this.chunks[0].length - this.at;
      this.chunks.shift();
      this.at = 0;
    }
  }

  process(_, [[output]]) {
    if (!this.playing && this.waiting > 0) {
      // The end of a reply may be shorter than what is held back.
      this.waited += output.length;
      this.playing = Math.max(this.waiting, this.waited) >= HOLD * sampleRate;
    }
    for (let i = 0; i < output.length; i++) output[i] = this.next();
    return true;
  }

  next() {
    const chunk = this.playing ? this.chunks[0] : undefined;
    if (chunk === undefined) {
      this.playing = false;
      this.waited = 0;
      this.last *= 1 - 1 / (FADE * sampleRate);
      return this.last;
    }
    this.last = chunk[this.at];
    this.at += 1;
    this.waiting -= 1;
    if (this.at === chunk.length) {
      this.chunks.shift();
      this.at = 0;
    }
    return this.last;
  }
}

registerProcessor("player", Player);
