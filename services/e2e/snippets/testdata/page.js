// What a program in a page has before it in tests: it draws the middle, its clock stands
// until an hour has passed, and its waits are noted instead of waited for.
(() => {
  const later = window.setTimeout, lines = [], waits = [];
  let clock = 1000;
  window.ran = { lines, waits };
  window.setTimeout = (f, wait, ...more) => {
    if (f.name !== "connect") return later(f, wait, ...more);
    waits.push(wait);
    return later(f);
  };
  Math.random = () => 0.5;
  Date.now = () => clock;
  console.log = (...words) => {
    lines.push(words.join(" "));
    if (words[0] === "welcome aged") clock = 3600 * 1000;
  };
})();
