// A call of this browser: microphone in, Esther's voice out.

const RATE = 16000;
// Two seconds of microphone. What the network does not take by then is dropped.
const MOST_BUFFERED = 64000;

// Tells what happens by events: `began` (detail: the call's id), `level` (detail: 0 to 1),
// `trouble` (detail: a sentence), `ended`.
export class Talk extends EventTarget {
  async start() {
    try {
      await this.open();
    } catch (problem) {
      if (!this.over) this.tell("trouble", explained(problem));
      this.end();
      // The microphone may have come after the end.
      this.release();
    }
  }

  // Hangs up.
  stop() {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.end();
    } else if (!this.stopping) {
      this.stopping = true;
      this.socket.send(JSON.stringify({ type: "stopAudio" }));
      setTimeout(() => this.end(), 1000);
    }
  }

  async open() {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives the microphone to https pages and to this machine's own only.");
    }
    // Made at once, while the click still counts as a wish for sound.
    this.speaker = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.recorder = new AudioContext({ latencyHint: "interactive" });
    this.microphone = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    await Promise.all([
      this.speaker.audioWorklet.addModule("player.js"),
      this.recorder.audioWorklet.addModule("capture.js"),
    ]);
    if (this.over) return this.release();
    this.microphone.getAudioTracks()[0].onended = () => {
      this.tell("trouble", "The microphone is gone.");
      this.stop();
    };

    this.player = new AudioWorkletNode(this.speaker, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.player.connect(this.speaker.destination);
    this.capture = new AudioWorkletNode(this.recorder, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    await Promise.all([this.speaker.resume(), this.recorder.resume()]);

    const channel = await newChannel();
    if (this.over) return this.release();
    this.socket = new WebSocket(socketAddress(channel));
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.begin(channel.id);
    this.socket.onmessage = ({ data }) => this.hear(data);
    this.socket.onclose = (close) => this.closed(close);
  }

  begin(call) {
    this.begun = true;
    this.socket.send(JSON.stringify({ type: "promptStart" }));
    this.socket.send(JSON.stringify({ type: "audioStart" }));
    this.capture.port.onmessage = ({ data }) => this.send(data);
    this.recorder.createMediaStreamSource(this.microphone).connect(this.capture);
    // The first answer shows that the call is there. Some models wait for the caller to speak.
    this.answered = () => {
      this.answered = undefined;
      if (!this.over) this.tell("began", call);
    };
    setTimeout(() => this.answered?.(), 1000);
  }

  send(frame) {
    this.tell("level", loudness(frame));
    if (this.socket.readyState === WebSocket.OPEN && this.socket.bufferedAmount < MOST_BUFFERED) {
      this.socket.send(frame);
    }
  }

  hear(data) {
    this.answered?.();
    if (data instanceof ArrayBuffer) {
      this.player.port.postMessage(data, [data]);
      return;
    }
    const { event } = JSON.parse(data);
    if (event?.contentEnd?.stopReason === "INTERRUPTED" || isInterruption(event?.textOutput?.content)) {
      this.player.port.postMessage("flush");
    } else if (event?.error) {
      this.tell("trouble", event.error.message);
    }
  }

  closed({ code, reason }) {
    if (!this.over && code !== 1000) {
      const why = reason || (this.begun ? "The connection was lost, and the call with it." : "The connection was refused.");
      this.tell("trouble", why);
    }
    this.end();
  }

  end() {
    if (this.over) return;
    this.over = true;
    this.release();
    this.tell("level", 0);
    this.tell("ended");
  }

  release() {
    this.microphone?.getTracks().forEach((track) => track.stop());
    this.socket?.close(1000);
    for (const context of [this.speaker, this.recorder]) {
      if (context && context.state !== "closed") context.close();
    }
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

async function newChannel() {
  const answer = await fetch("channels", { method: "POST" }).catch(() => {
    throw new Error("Esther does not answer. Is the service running?");
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? "Esther takes no calls right now.");
  return body;
}

// The address beside this page, which may be another than the public one that the answer names.
function socketAddress({ id, token }) {
  const address = new URL("socket", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = new URLSearchParams({ channel: id, token, audio: "binary" });
  return address;
}

function isInterruption(content) {
  if (!content?.startsWith("{")) return false;
  try {
    return JSON.parse(content).interrupted === true;
  } catch {
    return false;
  }
}

function loudness(frame) {
  const samples = new Int16Array(frame);
  const sum = samples.reduce((sum, sample) => sum + sample * sample, 0);
  return Math.min(1, (Math.sqrt(sum / samples.length) / 32768) * 4);
}

function explained(problem) {
  switch (problem.name) {
    case "NotAllowedError":
      return "Esther cannot hear you: the microphone was refused. Allow it for this page, then start again.";
    case "NotFoundError":
      return "Esther cannot hear you: this computer has no microphone.";
    case "NotReadableError":
      return "The microphone does not start. Another program may be using it.";
    default:
      return problem.message;
  }
}
