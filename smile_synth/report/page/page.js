"use strict";
(() => {
  const players = new Set();
  const gallery = JSON.parse(document.getElementById("gallery").textContent);
  // The wide ones show what a student sees of a clip, behind masks.
  const whole = [...document.querySelectorAll(".player")].filter((element) => !element.closest(".wide"));
  const films = new Map(whole.map((element) => [element.dataset.clip, element]));
  const button = document.getElementById("play");
  const box = document.getElementById("marks");
  const dialog = document.getElementById("clip");
  let time = 0;
  let timer = null;

  const draw = (player) => {
    const frame = time % player.frames;
    player.image.style.transform = `translateX(${(-100 * frame) / player.frames}%)`;
    player.rects.forEach((rect, k) => {
      const [x, y, width, height] = player.boxes[k][frame] || [0, 0, 0, 0];
      rect.setAttribute("x", x);
      rect.setAttribute("y", y);
      rect.setAttribute("width", width);
      rect.setAttribute("height", height);
    });
  };
  const start = (element) => {
    const player = {
      ...JSON.parse(element.dataset.film),
      element,
      image: element.querySelector("img"),
      rects: [...element.querySelectorAll("rect")],
    };
    players.add(player);
    draw(player);
    return element;
  };
  const tick = () => {
    time += 1;
    for (const player of players) player.element.isConnected ? draw(player) : players.delete(player);
  };
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(tick, 110) : null;
    if (button) button.textContent = on ? "Pause" : "Play";
  };

  const make = (name, parts) => Object.assign(document.createElement(name), parts);
  const fromGallery = (clip) => {
    const { source, width, height, frames } = gallery[clip];
    const element = make("figure", { className: "player", tabIndex: 0 });
    element.dataset.clip = clip;
    element.dataset.film = JSON.stringify({ frames, boxes: [] });
    const screen = make("div", { className: "screen" });
    screen.style.aspectRatio = `${width} / ${height}`;
    const image = make("img", { src: source, alt: `Clip ${clip}: ${frames} frames` });
    image.style.width = `${100 * frames}%`;
    screen.append(image);
    element.append(screen, make("figcaption", { textContent: `clip ${clip}` }));
    return element;
  };
  const filmOf = (clip) => {
    if (films.has(clip)) return films.get(clip).cloneNode(true);
    return clip in gallery ? fromGallery(clip) : null;
  };

  const showBar = (bar) => {
    const plate = bar.closest(".plate");
    const shown = plate.querySelector(".shown");
    const isSame = bar.classList.contains("open");
    plate.querySelectorAll(".bar.open").forEach((other) => other.classList.remove("open"));
    if (shown) shown.remove();
    if (isSame) return;
    bar.classList.add("open");
    const clips = bar.dataset.clips.split(" ");
    const carried = clips.filter((clip) => films.has(clip) || clip in gallery);
    const rest = clips.filter((clip) => !carried.includes(clip));
    const panel = make("div", { className: "shown" });
    panel.append(make("p", { textContent: `${bar.getAttribute("aria-label")}: for example` }));
    const row = make("div", { className: "films" });
    for (const clip of carried.slice(0, 6)) {
      const element = filmOf(clip);
      element.querySelector("figcaption").textContent = `clip ${clip}`;
      row.append(element);
    }
    panel.append(row);
    if (rest.length) {
      panel.append(make("p", { textContent: `Not on this page: clip${rest.length > 1 ? "s" : ""} ${rest.join(", ")}` }));
    }
    plate.append(panel);
    row.querySelectorAll(".player").forEach(start);
  };

  const enlarge = (element) => {
    const clip = element.dataset.clip;
    const stage = dialog.querySelector(".stage");
    const film = element.matches(".player") ? element.cloneNode(true) : filmOf(clip);
    stage.replaceChildren(film || element.querySelector("img").cloneNode(true));
    const caption = stage.querySelector("figcaption");
    dialog.querySelector(".caption").textContent = caption ? caption.textContent : `clip ${clip}`;
    if (caption) caption.remove();
    const code = dialog.querySelector("code");
    code.textContent = `${code.dataset.command} --clip ${clip} -o clip-${clip}.webp`;
    if (film) start(film);
    dialog.showModal();
  };

  const act = (target) => {
    if (target.closest("dialog")) return;
    const bar = target.closest(".bar");
    const clip = target.closest("[data-clip]");
    if (bar) showBar(bar);
    else if (clip) enlarge(clip);
  };
  document.addEventListener("click", (event) => act(event.target));
  document.addEventListener("keydown", (event) => {
    const bars = event.target.closest(".bar") ? [...event.target.closest(".plate").querySelectorAll(".bar")] : [];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (bars.length && step) {
      event.preventDefault();
      const next = bars[bars.indexOf(event.target.closest(".bar")) + step];
      if (next) next.focus();
    } else if (event.key === "Enter" && event.target.matches(".bar, [data-clip]")) {
      act(event.target);
    }
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  document.querySelectorAll(".hint").forEach((hint) => (hint.hidden = false));
  document.querySelectorAll(".sheet [data-clip]").forEach((figure) => (figure.tabIndex = 0));
  document.querySelectorAll(".plate").forEach((plate) => {
    plate.querySelectorAll(".bar").forEach((bar, i) => bar.setAttribute("tabindex", i ? -1 : 0));
  });
  document.querySelectorAll(".player").forEach(start);
  if (button && box) {
    button.addEventListener("click", () => play(timer === null));
    box.addEventListener("change", () => document.body.classList.toggle("no-marks", !box.checked));
    button.hidden = false;
    box.parentElement.hidden = false;
  }
  play(!window.matchMedia("(prefers-reduced-motion: reduce)").matches);
})();
