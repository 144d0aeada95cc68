// What all components stand on: templates (Preact and htm, vendored), words, styles, and how lengths and sizes are told.
import {html, render as draw, useEffect, useRef, useState} from './vendor/preact.js';

export * from './vendor/preact.js';

const sheet = fetch(new URL('./island.css', import.meta.url)).then(answer => answer.text()).then(css => {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
});

/** Show a component in its place, again whenever the server has something new to show. */
export async function mount({model, el, view}, Component) {
  const root = document.createElement('div');
  el.append(root);
  el.getRootNode().adoptedStyleSheets.push(await sheet);
  const texts = model.texts;
  const t = (name, values = {}) =>
    (texts[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
  // What is undefined cannot be sent: Bokeh's serializer throws.
  const send = message => model.send_msg(JSON.parse(JSON.stringify(message)));
  const show = () => draw(html`<${Component} shown=${model.shown} t=${t} send=${send} view=${view} />`, root);
  model.on('shown', show);
  show();
}

/** What a person just chose counts at once; what the server says afterwards counts as soon as it says something new. */
export function useEcho(told) {
  const [own, setOwn] = useState(told);
  const before = useRef(told);
  useEffect(() => { if (before.current !== told) { before.current = told; setOwn(told); } }, [told]);
  return [own, setOwn];
}

export const language = () => document.documentElement.lang || 'en';

export function clock(seconds) {
  const whole = Math.max(0, seconds || 0);
  const minutes = Math.floor(whole / 60);
  const rest = whole - 60 * minutes;
  return `${minutes}:${rest < 10 ? '0' : ''}${whole < 60 ? rest.toFixed(1) : Math.floor(rest)}`;
}

export function length(seconds, t) {
  if (seconds < 60) return t('time.seconds', {count: seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)});
  if (seconds < 3600) return t('time.minutes', {count: Math.round(seconds / 60)});
  return t('time.hours', {hours: Math.floor(seconds / 3600), minutes: Math.round((seconds % 3600) / 60)});
}

export function size(bytes, t) {
  if (bytes >= 1e9) return t('size.gigabytes', {count: (bytes / 1e9).toFixed(2)});
  if (bytes >= 1e6) return t('size.megabytes', {count: (bytes / 1e6).toFixed(1)});
  return t('size.kilobytes', {count: Math.max(1, Math.round(bytes / 1e3))});
}

export function when(iso) {
  return new Intl.DateTimeFormat(language(), {month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit'})
    .format(new Date(iso));
}

/** Storage of the tab or the browser, which a browser may close to us. */
export const kept = {
  read(storage, name) {
    try { return JSON.parse(storage().getItem(`lipswap.${name}`)); } catch { return null; }
  },
  write(storage, name, value) {
    try { storage().setItem(`lipswap.${name}`, JSON.stringify(value)); } catch { /* full or closed: nothing is kept */ }
  },
};
export const tab = () => sessionStorage;
export const browser = () => localStorage;

const ICONS = {
  voice: 'M12 15a4 4 0 0 0 4-4V6a4 4 0 0 0-8 0v5a4 4 0 0 0 4 4Zm7-4a7 7 0 0 1-6 6.9V21h-2v-3.1A7 7 0 0 1 5 11h2a5 5 0 0 0 10 0h2Z',
  video: 'M4 6h11a2 2 0 0 1 2 2v1.8l3.4-2.3c.7-.4 1.6 0 1.6.9v7.2c0 .9-.9 1.3-1.6.9L17 14.200V16a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V8c0-1.100.9-2 2-2Z',
  faces: 'M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20ZM8.500 9a1.300 1.300 0 1 1 0 2.600 1.300 1.300 0 0 1 0-2.600Zm7 0a1.300 1.300 0 1 1 0 2.600 1.300 1.300 0 0 1 0-2.600ZM12 18c-2.300 0-4.200-1.200-5-3h10c-.8 1.800-2.700 3-5 3Z',
  close: 'M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400L12 13.400 6.400 19 5 17.600 10.600 12 5 6.400Z',
  check: 'm9.500 17.200-5-5L6 10.700l3.500 3.500L18 5.700l1.500 1.500Z',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500Z',
  sun: 'M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10Zm-1-6h2v4h-2V1Zm0 18h2v4h-2v-4ZM1 11h4v2H1v-2Zm18 0h4v2h-4v-2ZM4.200 2.800 7 5.600 5.600 7 2.800 4.200 4.200 2.800ZM18.400 17l2.800 2.800-1.400 1.400-2.800-2.800 1.400-1.400ZM19.800 2.800l1.400 1.400L18.400 7 17 5.600l2.800-2.800ZM5.600 17 7 18.400l-2.800 2.800-1.400-1.400L5.600 17Z',
  shield: 'M12 2 4 5v6c0 5 3.400 9.400 8 11 4.600-1.600 8-6 8-11V5l-8-3Zm-1.200 14.200L7.300 12.700l1.400-1.400 2.100 2.100 4.500-4.500 1.400 1.400-5.900 5.900Z',
  play: 'M8 5v14l11-7L8 5Z',
  pause: 'M7 5h4v14H7V5Zm6 0h4v14h-4V5Z',
  loud: 'M4 9v6h4l5 5V4L8 9H4Zm12.500 3A4.500 4.500 0 0 0 14 8v8a4.500 4.500 0 0 0 2.500-4ZM14 3.200v2.100a7 7 0 0 1 0 13.400v2.100a9 9 0 0 0 0-17.600Z',
  mute: 'M4 9v6h4l5 5V4L8 9H4Zm17.500.9L20.100 8.500 18 10.600l-2.100-2.100-1.400 1.400 2.100 2.100-2.100 2.100 1.400 1.400 2.100-2.100 2.100 2.100 1.400-1.400-2.100-2.100 2.100-2.100Z',
  alert: 'M12 2 1 21h22L12 2Zm1 15h-2v2h2v-2Zm0-7h-2v5h2v-5Z',
};

export const Icon = ({name}) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} fill="currentColor" /></svg>`;
