/* The interactive explorer of progressive expansion. lgca_core/pages/explorer.py writes the data; all numbers are
   computed there. Nothing is loaded. */
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  };
  const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  const score = (value) => value.toFixed(4).replace("-", "−");
  const share = (value) => (value < 0.0005 ? "< 0.1 %" : `${(100 * value).toFixed(1)} %`);
  const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "es"}`;
  const article = (name) => (/^[aeiou]/i.test(name) ? "an" : "a");
  const indices = (values) => values.map((_, i) => i);
  const most = (values) => values.indexOf(Math.max(...values));
  const heaviestFirst = (step) => indices(step.weights).sort((a, b) => step.weights[b] - step.weights[a] || a - b);

  /* Where a box lies, in words. */
  const place = ([top, left, height, width], picture) => {
    const third = (at, names) => names[Math.min(2, Math.floor(3 * at))];
    const down = third((top + height / 2) / picture.height, ["at the top", "", "at the bottom"]);
    const across = third((left + width / 2) / picture.width, ["left", "", "right"]);
    if (!down) return across ? `at the ${across}` : "in the middle";
    return across ? `${down} ${across}` : down;
  };

  const sides = (boxes) => {
    const all = boxes.map(([, , height, width]) => Math.max(height, width));
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return low === high ? `${low}` : `${low} to ${high}`;
  };

  /* The box of step 0 that each box of every step grew from: a name that lasts. */
  const roots = (steps) => {
    const found = [indices(steps[0].boxes)];
    for (const [t, step] of steps.slice(0, -1).entries()) {
      const next = [];
      step.became.forEach((to, i) => {
        if (to !== null) next[to] = found[t][i];
      });
      found.push(next);
    }
    return found;
  };

  const SHAPES = [
    (x, y, r) => svg("circle", { cx: x, cy: y, r: r }),
    (x, y, r) => svg("rect", { x: x - r * 0.85, y: y - r * 0.85, width: r * 1.7, height: r * 1.7 }),
    (x, y, r) => svg("path", { d: `M${x} ${y - r * 1.15}L${x + r * 1.1} ${y + r * 0.85}H${x - r * 1.1}Z` }),
    (x, y, r) => svg("path", { d: `M${x} ${y - r * 1.3}L${x + r * 1.3} ${y}L${x} ${y + r * 1.3}L${x - r * 1.3} ${y}Z` }),
    (x, y, r) => svg("path", { d: `M${x} ${y + r * 1.15}L${x + r * 1.1} ${y - r * 0.85}H${x - r * 1.1}Z` }),
  ];

  function explore(root) {
    const read = (name) => JSON.parse(root.querySelector(`.explorer-${name}`).textContent);
    const data = read("data");
    const looks = read("looks");
    const state = { picture: 0, method: "lgca", step: 0, scores: "so_far", followed: 0 };

    const picture = () => data.pictures[state.picture];
    const steps = () => picture()[state.method];
    const step = () => steps()[state.step];
    const last = (of) => of[of.length - 1];
    const named = (c) => data.classes[c];
    const verdict = (of) => (of === picture().label ? "right" : "wrong");
    const says = (of) =>
      `${named(of.best)} (${verdict(of.best)}), ${score(of.margin)} ahead of ${named(of.second)}`;

    /* ---- the parts, built once */

    const radio = (group, value, content, attributes = {}) => {
      const input = el("input", { type: "radio", name: `${root.id}-${group}`, value: value });
      return el("label", attributes, input, ...content);
    };
    const choice = (group, legend, options, act) => {
      const labels = Object.entries(options).map(([value, text]) => radio(group, value, [el("span", {}, text)]));
      const box = el("fieldset", { class: "explorer-choice" }, el("legend", {}, legend), ...labels);
      box.addEventListener("change", (event) => act(event.target.value));
      return box;
    };

    const chooser = el("fieldset", { class: "explorer-pictures" }, el("legend", {}, "Choose a picture"));
    for (const [kind, words] of Object.entries(looks.kinds)) {
      const group = el("div", { class: "explorer-kind" }, el("span", { class: "explorer-kind-name" }, words));
      data.pictures.forEach((of, i) => {
        if (of.kind !== kind) return;
        const thumbnail = el("img", { src: of.source, alt: `${named(of.label)}: ${words}`, width: 64, height: 64 });
        group.append(radio("picture", i, [thumbnail], { title: `${named(of.label)}: ${words}` }));
      });
      if (group.children.length > 1) chooser.append(group);
    }
    chooser.addEventListener("change", (event) => show({ picture: Number(event.target.value), step: 0 }));

    const verdicts = el("div", { class: "explorer-verdicts" });

    const back = el("button", { type: "button" }, "◀ Back");
    const next = el("button", { type: "button" }, "Next ▶");
    const slider = el("input", { type: "range", min: 0, step: 1, "aria-label": "Expansion step t" });
    const ticks = el("div", { class: "explorer-ticks", "aria-hidden": "true" });
    const go = (t) => show({ step: Math.max(0, Math.min(steps().length - 1, t)) });
    back.addEventListener("click", () => go(state.step - 1));
    next.addEventListener("click", () => go(state.step + 1));
    slider.addEventListener("input", () => go(Number(slider.value)));
    const stepper = el("div", { class: "explorer-stepper" }, back, el("div", {}, slider, ticks), next);
    stepper.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && event.target !== slider) {
        event.preventDefault();
        go(state.step + by);
      }
    });
    const method = choice("method", "Crops of", { lgca: "LGCA, step by step", wca: "WCA, in one step" }, (value) =>
      show({ method: value, step: 0 }),
    );

    const said = el("p", { class: "explorer-said", role: "status", "aria-live": "polite" });
    const canvas = svg("svg", { role: "img", class: "explorer-canvas" });
    const scale = el(
      "p",
      { class: "explorer-scale" },
      "light ",
      el("span", { style: `background: linear-gradient(to right, ${looks.weights.join(", ")})` }),
      " heavy: weight, as a share of the step's largest. Dashed: the box that is followed, and what it grew from.",
    );
    const scoring = choice("scores", "Scores of", { so_far: "LGCA, accumulated", step: "each step alone" }, (value) =>
      show({ scores: value }),
    );
    const chart = svg("svg", { role: "img", class: "explorer-chart", viewBox: "0 0 360 300" });
    const table = el("table", { class: "explorer-table" });
    const crops = el("fieldset", { class: "explorer-crops" });
    crops.addEventListener("change", (event) => show({ followed: Number(event.target.value) }));
    const followed = el("p", { class: "explorer-followed", role: "status", "aria-live": "polite" });

    root.append(
      chooser,
      verdicts,
      el("div", { class: "explorer-controls" }, stepper, method),
      said,
      el(
        "div",
        { class: "explorer-stage" },
        el("div", {}, canvas, scale),
        el("div", {}, scoring, chart),
      ),
      el("div", { class: "explorer-wide" }, table),
      crops,
      followed,
    );

    /* ---- what changes with the state */

    let origin = []; // of each step, its boxes' roots
    let marks = []; // of each root, its rectangle

    function newBoxes() {
      const { width, height, source } = picture();
      origin = roots(steps());
      state.followed = last(origin)[most(last(steps()).weights)];
      root.style.setProperty("--explorer-picture", `url("${source}")`);
      canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
      marks = indices(steps()[0].boxes).map(() => svg("rect", { class: "explorer-box" }));
      // The longest-lived are drawn last, and of those the heaviest. Moving them later would end their transitions.
      const lived = marks.map((_, i) => origin.filter((of) => of.includes(i)).length - 1);
      const weight = (i) => steps()[lived[i]].weights[origin[lived[i]].indexOf(i)];
      const order = indices(marks).sort((a, b) => lived[a] - lived[b] || weight(a) - weight(b));
      canvas.replaceChildren(
        svg("image", { href: source, width: width, height: height }),
        ...order.map((i) => marks[i]),
        svg("g", { class: "explorer-trail" }),
      );
    }

    const outline = ([top, left, height, width]) => ({ x: left, y: top, width: width, height: height });

    function drawBoxes() {
      const heaviest = Math.max(...step().weights);
      marks.forEach((mark, i) => {
        const at = origin[state.step].indexOf(i);
        mark.classList.toggle("gone", at < 0);
        if (at < 0) return;
        const part = heaviest ? step().weights[at] / heaviest : 0;
        fill(mark, outline(step().boxes[at]), []);
        mark.style.stroke = looks.weights[Math.round(part * (looks.weights.length - 1))];
        mark.style.strokeWidth = `${1 + 2.4 * part}px`;
        mark.style.opacity = 0.5 + 0.5 * part;
      });
      const trail = [];
      for (let t = 0; t <= state.step; t += 1) {
        const at = origin[t].indexOf(state.followed);
        if (at < 0) continue;
        const kinds = t === state.step ? ["now"] : ["under", "over"];
        trail.push(...kinds.map((kind) => svg("rect", { class: kind, ...outline(steps()[t].boxes[at]) })));
      }
      const alive = origin[state.step].includes(state.followed);
      last([...canvas.children]).replaceChildren(...(alive ? trail : []));
      const at = most(step().weights);
      const [, , , width] = step().boxes[at];
      canvas.setAttribute(
        "aria-label",
        `Picture of ${article(named(picture().label))} ${named(picture().label)} with ` +
          `${counted(step().boxes.length, "box")} of ${state.method === "wca" ? "WCA" : `step ${state.step}`} over it; ` +
          `the heaviest, ${width} pixels wide, lies ${place(step().boxes[at], picture())}`,
      );
    }

    function drawVerdicts() {
      const of = picture();
      const heading = el("p", {}, el("strong", {}, named(of.label)), `: ${looks.kinds[of.kind]}.`);
      const rows = [
        ["WCA", last(of.wca).so_far],
        ["LGCA", last(of.lgca).so_far],
        ["Whole picture", of.whole],
      ].map(([who, answer]) => {
        const right = answer.best === of.label;
        return el(
          "li",
          { class: right ? "right" : "wrong" },
          el("span", { class: "explorer-who" }, who),
          el("span", { class: "explorer-mark", "aria-hidden": "true" }, right ? "✓" : "✗"),
          el("span", {}, named(answer.best)),
          el("span", { class: "explorer-small" }, `${verdict(answer.best)}, ahead by ${score(answer.margin)}`),
        );
      });
      verdicts.replaceChildren(heading, el("ul", {}, ...rows));
    }

    function drawControls() {
      const T = steps().length - 1;
      const words = T ? `step ${state.step} of ${T}` : "the only step";
      slider.max = T;
      slider.value = state.step;
      slider.disabled = T === 0;
      slider.setAttribute("aria-valuetext", words);
      // Not `disabled`, which would take the focus away from the keyboard that is using it.
      back.setAttribute("aria-disabled", state.step === 0);
      next.setAttribute("aria-disabled", state.step === T);
      const mark = (_, t) => el("span", t === state.step ? { class: "now" } : {}, T ? `t = ${t}` : words);
      ticks.replaceChildren(...steps().map(mark));
      for (const [group, value] of Object.entries({ picture: state.picture, method: state.method, scores: state.scores })) {
        root.querySelector(`input[name="${root.id}-${group}"][value="${value}"]`).checked = true;
      }
    }

    function sayStep() {
      const own = step();
      const T = steps().length - 1;
      const kept = own.became.filter((to) => to !== null).length;
      const boxes = `${counted(own.boxes.length, "box")}, sides ${sides(own.boxes)} pixels, the heaviest with ` +
        `${share(Math.max(...own.weights))} of the weight. `;
      if (state.method === "wca") {
        said.textContent = `WCA: ${boxes}It says ${says(own.so_far)}.`;
        return;
      }
      const onward = state.step === T ? "This is the last step." : `Kept, to grow: ${counted(kept, "box")}.`;
      const total = state.step === 0 ? "" : `LGCA, after ${state.step + 1} steps, says ${says(own.so_far)}. `;
      said.textContent =
        `Step ${state.step} of ${T}: ${boxes}This step alone says ${says(own.step)}. ${total}${onward}`;
    }

    const colour = (k) => looks.classes[k % looks.classes.length];
    const shape = (k, x, y, r) => fill(SHAPES[k % SHAPES.length](x, y, r), { fill: colour(k) }, []);

    function drawChart() {
      const of = picture();
      const T = of.lgca.length - 1;
      const [left, right, top, bottom] = [46, 8, 24, 40];
      const [width, height] = [360 - left - right, 300 - top - bottom];
      const all = [...of.lgca.flatMap((s) => [s.step.scores, s.so_far.scores]), of.wca[0].so_far.scores, of.whole.scores];
      const [low, high] = [Math.min(...all.flat()), Math.max(...all.flat())];
      const pad = 0.06 * (high - low || 1);
      const x = (column) => left + (width * (column + 0.5)) / (T + 3.6);
      const y = (value) => top + (height * (high + pad - value)) / (high - low + 2 * pad);
      const columns = [T + 1.6, T + 2.6];
      const text = (at, down, words, anchor = "middle") => svg("text", { x: at, y: down, "text-anchor": anchor }, words);

      const parts = [];
      const now = state.method === "wca" ? columns[0] : state.step;
      const band = width / (T + 3.6);
      parts.push(svg("rect", { class: "now", x: x(now) - band / 2, y: top, width: band, height: height }));
      const unit = 10 ** Math.floor(Math.log10((high - low || 1) / 2));
      const gap = [5, 2, 1].map((by) => by * unit).find((by) => (high - low) / by >= 2.5) || unit / 2;
      for (let value = Math.ceil((low - pad) / gap) * gap; value <= high + pad; value += gap) {
        parts.push(svg("path", { class: "grid", d: `M${left} ${y(value)}H${360 - right}` }));
        parts.push(text(left - 6, y(value) + 4, value.toFixed(Math.max(0, Math.ceil(-Math.log10(gap) - 1e-9))), "end"));
      }
      of.lgca.forEach((_, t) => parts.push(text(x(t), top + height + 16, `${t}`)));
      parts.push(text(0, 12, "score, cosine units", "start"), text(x(T / 2), top + height + 33, "LGCA, expansion step t"));
      parts.push(text(x(columns[0]), top + height + 16, "WCA"), text(x(columns[1]), top + height + 16, "whole"));
      for (const k of indices(of.shown).reverse()) {
        const line = of.lgca.map((s) => s[state.scores].scores[k]);
        const points = line.map((value, t) => `${x(t)},${y(value)}`).join(" ");
        const own = k === 0;
        parts.push(svg("polyline", { points: points, stroke: colour(k), class: own ? "true" : "" }));
        line.forEach((value, t) => parts.push(shape(k, x(t), y(value), own ? 5 : 3.5)));
        parts.push(shape(k, x(columns[0]), y(of.wca[0].so_far.scores[k]), own ? 5 : 3.5));
        parts.push(shape(k, x(columns[1]), y(of.whole.scores[k]), own ? 5 : 3.5));
      }
      chart.replaceChildren(...parts);
      const what = state.scores === "step" ? "each step alone" : "LGCA after each step";
      const first = of.lgca.map((s, t) => `${t}: ${named(s[state.scores].best)}`).join("; ");
      chart.setAttribute(
        "aria-label",
        `Scores of ${what}, in cosine units. Highest at step ${first}; WCA: ${named(last(of.wca).so_far.best)}; whole ` +
          `picture: ${named(of.whole.best)}. The true class is ${named(of.label)}.`,
      );
    }

    function drawTable() {
      const of = picture();
      const t = state.method === "wca" ? of.lgca.length - 1 : state.step;
      const columns = [
        ...(state.method === "wca" ? [] : [[`step ${t} alone`, of.lgca[t].step]]),
        [`LGCA after step ${t}`, of.lgca[t].so_far],
        ["WCA", last(of.wca).so_far],
        ["whole picture", of.whole],
      ];
      const head = columns.map(([name]) => el("th", { scope: "col" }, name));
      const rows = of.shown.map((c, k) => {
        const swatch = svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, shape(k, 7, 7, k === 0 ? 5.5 : 4.5));
        const cells = columns.map(([, answer]) =>
          answer.best === c
            ? el("td", { class: "best" }, el("span", { class: "explorer-small" }, "highest "), score(answer.scores[k]))
            : el("td", {}, score(answer.scores[k])),
        );
        const name = el("th", { scope: "row" }, swatch, named(c), ...(k === 0 ? [el("strong", {}, " (true)")] : []));
        return el("tr", k === 0 ? { class: "true" } : {}, name, ...cells);
      });
      table.replaceChildren(
        el("caption", {}, "Scores, in cosine units"),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "class"), ...head)),
        el("tbody", {}, ...rows),
      );
    }

    function drawCrops() {
      const own = step();
      const final = state.step === steps().length - 1;
      const where = state.method === "wca" ? "WCA" : `step ${state.step}`;
      const tiles = heaviestFirst(own).map((i, place) => {
        const [top, left, height, width] = own.boxes[i];
        const grows = own.became[i] !== null;
        const at = (start, side, whole) => (whole > side ? (100 * start) / (whole - side) : 0);
        const cut = el("span", { class: "explorer-crop" });
        cut.style.aspectRatio = `${width} / ${height}`;
        cut.style.backgroundSize = `${(100 * picture().width) / width}% ${(100 * picture().height) / height}%`;
        cut.style.backgroundPosition = `${at(left, width, picture().width)}% ${at(top, height, picture().height)}%`;
        const fate = final ? "" : grows ? ", kept" : ", not kept";
        const label = `crop ${place + 1} of ${own.boxes.length}: ${share(own.weights[i])} of the weight${fate}`;
        const tile = radio(
          "crop",
          origin[state.step][i],
          [cut, el("span", { "aria-hidden": "true" }, share(own.weights[i]), grows ? el("b", {}, " ↗") : "")],
          { class: final || grows ? "" : "dropped" },
        );
        const input = tile.firstChild;
        input.setAttribute("aria-label", label);
        input.checked = origin[state.step][i] === state.followed;
        const mark = marks[origin[state.step][i]];
        tile.addEventListener("mouseenter", () => mark.classList.add("pointed"));
        tile.addEventListener("mouseleave", () => mark.classList.remove("pointed"));
        return tile;
      });
      const key = final ? "" : " (↗ kept, and grows)";
      crops.replaceChildren(
        el("legend", {}, `Crops of ${where}, heaviest first${key}: choose one to follow`),
        ...tiles,
      );
    }

    function sayFollowed() {
      const own = step();
      const at = origin[state.step].indexOf(state.followed);
      if (at < 0) {
        const lost = origin.findIndex((of) => !of.includes(state.followed)) - 1;
        followed.textContent = `The crop that was followed was not kept after step ${lost}: choose another.`;
        return;
      }
      const [, , height, width] = own.boxes[at];
      const to = own.became[at];
      const grown = to === null ? null : steps()[state.step + 1].boxes[to];
      let fate = "";
      if (grown) fate = ` It is kept and grows to ${grown[3]} × ${grown[2]} pixels.`;
      else if (state.step < steps().length - 1) fate = " It is not kept.";
      followed.textContent =
        `The crop that is followed has ${width} × ${height} pixels and lies ${place(own.boxes[at], picture())}. Its ` +
        `cosine to the whole picture is ${score(own.saliency[at])}, its weight ${share(own.weights[at])}. By itself it ` +
        `would be called ${article(named(own.alone[at]))} ${named(own.alone[at])} (${verdict(own.alone[at])}).${fate}`;
    }

    function show(change) {
      Object.assign(state, change);
      if ("picture" in change || "method" in change) newBoxes();
      const only = Object.keys(change);
      if (only.length > 1 || only[0] !== "followed") {
        drawVerdicts();
        drawControls();
        sayStep();
        drawChart();
        drawTable();
        drawCrops();
      }
      drawBoxes();
      sayFollowed();
    }

    show({ picture: 0, step: 0 });
  }

  const start = () =>
    document.querySelectorAll(".explorer:not([data-ready])").forEach((root) => {
      root.setAttribute("data-ready", "");
      explore(root);
    });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
