// What a program in JavaScript runs beside in tests: it draws the middle, its clock is a
// file, and its waits are written down instead of waited for.
import { appendFileSync, readFileSync } from "node:fs";

const later = globalThis.setTimeout;
globalThis.setTimeout = (f, wait, ...more) => {
  if (f.name !== "connect") return later(f, wait, ...more);
  appendFileSync(process.env.WAITS, wait + "\n");
  return later(f);
};
Math.random = () => 0.5;
Date.now = () => Number(readFileSync(process.env.CLOCK)) * 1000;
