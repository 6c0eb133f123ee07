"use strict";
// The page works without this script. It adds tooltips, and the choice of weekday and hour for the map.
(() => {
  const tip = document.getElementById("tip");
  const showTip = (event) => {
    const mark = event.target.closest?.(".chart path[role='graphics-symbol'][aria-label]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.getAttribute("aria-label");
    const { width, height } = tip.getBoundingClientRect();
    const right = document.documentElement.clientWidth - width - 8;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, right))}px`;
    tip.style.top = `${event.clientY > height + 20 ? event.clientY - height - 12 : event.clientY + 16}px`;
  };
  document.addEventListener("pointermove", showTip);
  document.addEventListener("pointerdown", showTip);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  const given = document.getElementById("places");
  if (!given) return;
  const places = JSON.parse(given.textContent);
  const clock = document.getElementById("clock");
  const maps = ["wide", "narrow"].map((size) => ({
    marks: document.querySelectorAll(`.map .${size} .places_marks path`),
    radius: places.radius[size],
  }));
  const number = new Intl.NumberFormat("en-US");

  const show = () => {
    const register = clock.register.value;
    const hour = Number(clock.hour.value);
    const people = places.people[register][clock.weekday.value][hour];
    const name = places.names[register];
    const text = (n) => (n === null ? "not known" : `${number.format(n)} ${name}`);
    for (const { marks, radius } of maps) {
      marks.forEach((mark, place) => {
        const n = people[place];
        const r = radius * Math.sqrt((n ?? 0) / places.most[register]);
        mark.setAttribute("d", `M${r},0A${r},${r},0,1,1,${-r},0A${r},${r},0,1,1,${r},0`);
        mark.setAttribute("fill", places.colours[register]);
        mark.setAttribute("aria-label", `${places.labels[place]}: ${text(n)}`);
      });
    }
    const title = name.charAt(0).toUpperCase() + name.slice(1);
    const day = places.weekdays[clock.weekday.value];
    document.getElementById("now").textContent = `${title}, on an average ${day}, ${hour}:00 to ${hour + 1}:00`;
    clock.hour.setAttribute("aria-valuetext", `${hour}:00`);
    const known = places.labels.map((label, place) => [label, people[place]]).filter(([, n]) => n !== null);
    known.sort((one, other) => other[1] - one[1]);
    const rows = known.slice(0, places.listed).map(([label, n]) => {
      const row = document.createElement("li");
      const [station, riders] = [document.createElement("span"), document.createElement("b")];
      station.textContent = label;
      riders.textContent = number.format(n);
      row.append(station, " ", riders);
      return row;
    });
    if (!rows.length) rows.push(Object.assign(document.createElement("li"), { textContent: "not known" }));
    document.getElementById("busiest").replaceChildren(...rows);
  };

  let playing = 0;
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    clock.play.textContent = "Play the day";
  };
  clock.play.addEventListener("click", () => {
    if (playing) return stop();
    clock.play.textContent = "Stop";
    playing = setInterval(() => {
      clock.hour.value = (Number(clock.hour.value) + 1) % 24;
      show();
    }, 700);
  });
  clock.addEventListener("input", () => { if (playing) stop(); show(); });
  clock.addEventListener("submit", (event) => event.preventDefault());
  [clock.weekday.value, clock.hour.value] = places.busiest;
  clock.hidden = false;
  show();
})();
