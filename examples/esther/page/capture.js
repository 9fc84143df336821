// Runs beside the microphone: makes 16 kHz L16 frames of 20 ms out of whatever rate it has.

const RATE = 16000;
const FRAME = 320;

// A windowed sinc: nothing above 7.5 kHz gets through, where it would fold back into speech.
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    const cutoff = Math.min(1, to / from) * 0.94;
    this.reach = Math.ceil(16 / cutoff);
    this.table = new Float32Array(this.reach * STEPS + 2);
    for (let i = 0; i < this.table.length; i++) {
      const x = i / STEPS;
      const window = x < this.reach ? Math.cos((Math.PI * x) / (2 * this.reach)) ** 2 : 0;
      const angle = Math.PI * x * cutoff;
      this.table[i] = cutoff * window * (angle === 0 ? 1 : Math.sin(angle) / angle);
    }
    this.samples = new Float32Array(2 * this.reach + 8192);
    this.filled = this.reach;
    this.at = this.reach;
  }

  // Calls `take` with each sample at the new rate.
  push(input, take) {
    this.samples.set(input, this.filled);
    this.filled += input.length;
    while (this.at + this.reach < this.filled) {
      const middle = Math.floor(this.at);
      let sum = 0;
      for (let i = middle - this.reach + 1; i <= middle + this.reach; i++) {
        const place = Math.abs(this.at - i) * STEPS;
        const below = Math.floor(place);
        const value = this.table[below];
        sum += this.samples[i] * (value + (place - below) * (this.table[below + 1] - value));
      }
      take(sum);
      this.at += this.step;
    }
    const spent = Math.floor(this.at) - this.reach;
    this.samples.copyWithin(0, spent, this.filled);
    this.filled -= spent;
    this.at -= spent;
  }
}

const STEPS = 128;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new DataView(new ArrayBuffer(FRAME * 2));
    this.length = 0;
    this.take = (sample) => {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.frame.setInt16(this.length * 2, Math.round(clipped * 32767), true);
      this.length += 1;
      if (this.length === FRAME) {
        const { buffer } = this.frame;
        this.port.postMessage(buffer, [buffer]);
        this.frame = new DataView(new ArrayBuffer(FRAME * 2));
        this.length = 0;
      }
    };
  }

  process([channels]) {
    if (channels.length > 0) this.resampler.push(channels[0], this.take);
    return true;
  }
}

registerProcessor("capture", Capture);
