// A voice from the microphone, a video or a picture from the camera.
import {html, clock, useEffect, useRef, useState} from './base.js';

const TYPES = {voice: ['audio/webm;codecs=opus', 'audio/mp4'], video: ['video/mp4', 'video/webm;codecs=vp8,opus', 'video/webm']};

export function Recorder({slot, t, onFile, onLeave}) {
  const [state, setState] = useState('asking');
  const [seconds, setSeconds] = useState(0);
  const stream = useRef(null);
  const recorder = useRef(null);
  const screen = useRef(null);
  const chunks = useRef([]);

  useEffect(() => {
    let isHere = true;
    const asked = slot === 'voice' ? {audio: true} : {video: {facingMode: 'user'}, audio: slot === 'video'};
    if (!navigator.mediaDevices) { setState('insecure'); return undefined; }
    navigator.mediaDevices.getUserMedia(asked).then(given => {
      if (!isHere) { given.getTracks().forEach(track => track.stop()); return; }
      stream.current = given;
      setState('ready');
    }, error => setState(error.name === 'NotFoundError' ? 'missing' : 'denied'));
    return () => { isHere = false; stream.current?.getTracks().forEach(track => track.stop()); };
  }, []);
  useEffect(() => { if (screen.current && stream.current) screen.current.srcObject = stream.current; });
  useEffect(() => {
    if (state !== 'running') return undefined;
    const began = performance.now();
    const ticking = setInterval(() => setSeconds((performance.now() - began) / 1000), 200);
    return () => clearInterval(ticking);
  }, [state]);

  const begin = () => {
    const mimeType = TYPES[slot].find(type => MediaRecorder.isTypeSupported(type));
    chunks.current = [];
    recorder.current = new MediaRecorder(stream.current, mimeType ? {mimeType} : undefined);
    recorder.current.ondataavailable = event => { if (event.data.size) chunks.current.push(event.data); };
    recorder.current.onstop = () => {
      const type = recorder.current.mimeType.split(';')[0];
      const suffix = type.endsWith('mp4') ? (slot === 'voice' ? 'm4a' : 'mp4') : 'webm';
      onFile(new File(chunks.current, `${t(`record.${slot}_name`)}.${suffix}`, {type}));
    };
    recorder.current.start(1000);
    setState('running');
  };
  const shoot = () => {
    const film = screen.current;
    const board = Object.assign(document.createElement('canvas'), {width: film.videoWidth, height: film.videoHeight});
    board.getContext('2d').drawImage(film, 0, 0);
    board.toBlob(blob => onFile(new File([blob], `${t('record.faces_name')}.jpg`, {type: 'image/jpeg'})), 'image/jpeg', 0.92);
  };

  return html`
    <div class="recorder">
      ${slot !== 'voice' && ['ready', 'running'].includes(state) && html`<video ref=${screen} class="film mirror" autoplay playsinline muted></video>`}
      ${['denied', 'missing', 'insecure'].includes(state) && html`<div class="notice bad" role="alert">${t(`record.${state}`)}</div>`}
      ${state === 'running' && html`<div class="pulse" role="status">${t('record.running', {time: clock(seconds)})}</div>`}
      <div class="line">
        ${slot === 'faces' && state === 'ready' && html`<button type="button" class="button main" onClick=${shoot}>${t('record.shoot')}</button>`}
        ${slot !== 'faces' && state === 'ready' && html`<button type="button" class="button main" onClick=${begin}>${t('record.start')}</button>`}
        ${state === 'running' && html`<button type="button" class="button main" onClick=${() => recorder.current.stop()}>${t('record.stop')}</button>`}
        <button type="button" class="button" onClick=${onLeave}>${t('record.cancel')}</button>
      </div>
    </div>`;
}
