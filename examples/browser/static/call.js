// One call: microphone → WebSocket → loudspeaker. The audio runs at 16 kHz in both directions; the
// browser resamples. What is played, and how far, worklets.js knows to the sample.

const RATE = 16000;
const button = document.getElementById("call");
const state = document.getElementById("state");
const turns = document.getElementById("turns");

let hangUp = null;
button.addEventListener("click", () => (hangUp ? hangUp("You hung up.") : call()));
button.disabled = false;

async function call() {
  button.disabled = true;
  state.textContent = "Calling …";
  turns.replaceChildren();
  let microphone, audio;
  try {
    microphone = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    audio = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await audio.audioWorklet.addModule("worklets.js");
  } catch (error) {
    microphone?.getTracks().forEach((track) => track.stop());
    state.textContent = `No microphone: ${error.message}`;
    button.disabled = false;
    return;
  }
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/call`);
  socket.binaryType = "arraybuffer";
  const tell = (message) => socket.readyState === WebSocket.OPEN && socket.send(message);

  const capture = new AudioWorkletNode(audio, "capture", { numberOfOutputs: 0 });
  capture.port.onmessage = ({ data }) => tell(data);
  audio.createMediaStreamSource(microphone).connect(capture);

  const player = new AudioWorkletNode(audio, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  player.port.onmessage = ({ data }) => tell(JSON.stringify(data));
  player.connect(audio.destination);

  const messages = {
    answered: () => (state.textContent = "Speak."),
    turn: show,
    ended: ({ cause }) => hangUp?.(`The call is over: ${cause}.`),
  };
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) return player.port.postMessage(data, [data]);
    const message = JSON.parse(data);
    (messages[message.type] ?? ((other) => player.port.postMessage(other)))(message);
  };
  hangUp = (why) => {
    hangUp = null;
    socket.onclose = null;
    socket.close();
    microphone.getTracks().forEach((track) => track.stop());
    audio.close();
    button.textContent = "Call";
    state.textContent = why;
  };
  socket.onclose = ({ reason }) => hangUp?.(reason || "The connection was lost.");
  button.textContent = "Hang up";
  button.disabled = false;
  window.playback = { audio, player }; // for tests, and for the curious
}

function show({ role, text, interrupted }) {
  const item = document.createElement("li");
  item.className = interrupted ? `${role} interrupted` : role;
  item.textContent = text;
  turns.append(item);
}
