"use strict";
(() => {
  const players = [...document.querySelectorAll(".player")].map((element) => ({
    ...JSON.parse(element.dataset.film),
    image: element.querySelector("img"),
    rects: [...element.querySelectorAll("rect")],
  }));
  const button = document.getElementById("play");
  const box = document.getElementById("marks");
  if (!players.length || !button || !box) return;

  const show = (time) => {
    for (const player of players) {
      const frame = time % player.frames;
      player.image.style.transform = `translateX(${(-100 * frame) / player.frames}%)`;
      player.rects.forEach((rect, k) => {
        const [x, y, width, height] = player.boxes[k][frame] || [0, 0, 0, 0];
        rect.setAttribute("x", x);
        rect.setAttribute("y", y);
        rect.setAttribute("width", width);
        rect.setAttribute("height", height);
      });
    }
  };

  let time = 0;
  let timer = null;
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(() => show(++time), 110) : null;
    button.textContent = on ? "Pause" : "Play";
  };
  button.addEventListener("click", () => play(timer === null));
  box.addEventListener("change", () => document.body.classList.toggle("no-marks", !box.checked));
  button.hidden = false;
  box.parentElement.hidden = false;
  play(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
})();
