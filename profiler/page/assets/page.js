// Draws the page from the JSON in it. All text goes in as text, never as markup.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page").textContent);
  const COLOURS = 8; // of series, which repeat; those behind them are of special bars
  const DASHES = ["solid", "dash", "dot"];
  const SIGNS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "triangle-down", "pentagon"];
  let chosen = page.chosen;
  const drawn = new Map(); // the box of each figure that is on the page, and the figure

  // --- small helpers ---------------------------------------------------------------------------

  function make(tag, { text, ...attributes } = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    node.append(...children);
    return node;
  }

  function digits(value, count = 4) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (value === 0) return "0";
    if (size < 1e-6 || size >= 1e9) return value.toExponential(count - 1);
    if (Number.isInteger(value)) return String(value);
    const decimals = count - 1 - Math.floor(Math.log10(size));
    return value.toFixed(Math.min(Math.max(decimals, 0), 20));
  }

  // Plotly reads some markup in text; what we give it is text.
  const text = (words) =>
    String(words).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  // What differs stands at the ends of names as often as at their beginnings.
  const middle = (words, most) => (words.length > most
    ? `${words.slice(0, most / 2 - 1)}…${words.slice(words.length - most / 2)}` : words);
  const short = (words, most = 48) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const lineColour = (one) =>
    one.shade === undefined || one.shade === null
      ? colour(`c${(one.colour || 0) % COLOURS}`)
      : `hsl(${Math.round(240 - 240 * one.shade)} 75% ${matchesDark() ? 62 : 40}%)`;
  const matchesDark = () =>
    matchMedia("(prefers-color-scheme: dark)").matches &&
    !document.documentElement.classList.contains("printing");

  // --- figures -----------------------------------------------------------------------------------

  function trace(figure, one) {
    const round = Math.floor((one.colour || 0) / COLOURS);
    const drawn = {
      name: text(middle(one.name, 48)),
      x: one.x.map((value) => (typeof value === "string" ? text(value) : value)),
      y: one.y.map((value) => (typeof value === "string" ? text(value) : value)),
      showlegend: !one.plain,
      hoverinfo: "text",
      hovertext: one.x.map((_, at) => told(figure, one, at)),
      customdata: one.cells,
    };
    const paint = lineColour(one);
    if (one.shape === "bars") {
      const across = Boolean(figure.y.names);
      return { ...drawn, type: "bar", orientation: across ? "h" : "v",
        [across ? "error_x" : "error_y"]: whiskers(one, across ? one.x : one.y, colour("ink")), base: one.base, marker: { color: colour(`c${one.colour || 0}`) } };
    }
    const line = { color: paint, width: 2, dash: one.dashed ? "dash" : DASHES[round % DASHES.length] };
    if (one.shape === "steps") line.shape = "hv";
    const largest = 26;
    const marker = {
      color: paint,
      size: one.sizes ? one.sizes.map((share) => Math.max(5, largest * Math.sqrt(share))) : 7,
      symbol: (one.star ? "star" : SIGNS[(one.colour || 0) % SIGNS.length]) + (one.hollow ? "-open" : ""),
    };
    if (one.star) marker.size = 15;
    const wantsMarks = one.shape === "points" || (one.marked !== false && !one.dashed && one.shape !== "steps");
    const mode = one.shape === "points" ? "markers" : wantsMarks ? "lines+markers" : "lines";
    const alongX = Boolean(figure.y.names);
    return { ...drawn, type: "scatter", mode, line, marker, cliponaxis: true,
      [alongX ? "error_x" : "error_y"]: whiskers(one, alongX ? one.x : one.y, paint) };
  }

  function whiskers(one, values, paint) {
    if (!one.low || one.low.every((value) => value === null)) return undefined;
    const reach = (ends, sign) =>
      values.map((value, at) => (ends[at] === null ? 0 : Math.max(0, sign * (ends[at] - value))));
    return { type: "data", symmetric: false, array: reach(one.high, 1),
      arrayminus: reach(one.low, -1), thickness: 1.2, width: 4, color: paint };
  }

  function told(figure, one, at) {
    const name = (one.text && one.text[at]) || one.name;
    const number = (value) => (typeof value === "string" ? value : digits(value));
    const interval = one.low && one.low[at] !== null && one.low[at] !== undefined
      ? ` (${digits(one.low[at])} to ${digits(one.high[at])})` : "";
    const lines = [short(name, 80)];
    if (!figure.x.names) lines.push(`${figure.x.title}: ${number(one.x[at])}`);
    if (figure.y.names) lines[1] += interval;
    else lines.push(`${figure.y.title}: ${number(one.y[at])}${interval}`);
    return lines.map(text).join("<br>");
  }

  function axis(one, extra) {
    const own = {
      title: { text: text(one.title || ""), standoff: 6, font: { size: 11 } },
      type: one.names ? "category" : one.log ? "log" : "linear",
      gridcolor: colour("grid"), zerolinecolor: colour("edge"), linecolor: colour("edge"),
      automargin: true, exponentformat: "none",
    };
    if (one.names) {
      const names = one.names.map(text);
      Object.assign(own, { categoryorder: "array", categoryarray: names, tickmode: "array",
        tickvals: names, ticktext: one.names.map((name) => text(middle(name, extra ? 36 : 22))), ...extra });
    }
    if (one.ticks) Object.assign(own, { tickmode: "array", tickvals: one.ticks, ticktext: one.ticks.map(String) });
    if (one.zero && !one.log) own.rangemode = "tozero";
    if (one.ends) own.range = one.log ? one.ends.map(Math.log10) : one.ends;
    return own;
  }

  function marks(figure) {
    const shapes = [];
    const annotations = [];
    for (const mark of figure.marks || []) {
      const across = mark.axis === "y";
      const paint = colour(mark.label === "budget" ? "bad" : "soft");
      const log = figure[mark.axis].log;
      shapes.push({ type: "line", line: { color: paint, width: 1.5, dash: "dash" },
        ...(across ? { xref: "paper", x0: 0, x1: 1, y0: mark.at, y1: mark.at }
          : { yref: "paper", y0: 0, y1: 1, x0: mark.at, x1: mark.at }) });
      const place = log ? Math.log10(mark.at) : mark.at;
      annotations.push({ text: text(`${mark.label} ${digits(mark.at, 3)}`), showarrow: false,
        font: { color: paint, size: 11 }, bgcolor: colour("card"),
        ...(across ? { xref: "paper", x: 1, xanchor: "right", y: place, yanchor: "bottom" }
          : { yref: "paper", y: 1, yanchor: "top", x: place, xanchor: "left" }) });
    }
    return { shapes, annotations };
  }

  function draw(box, figure) {
    const legend = figure.series.filter((one) => !one.plain).length > 1;
    const layout = {
      ...marks(figure), xaxis: axis(figure.x), yaxis: axis(figure.y, figure.y.names && { autorange: "reversed" }), showlegend: legend,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", barmode: "overlay", bargap: 0.15,
      font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 11 },
      margin: { l: 40, r: 10, t: 8, b: 30 }, hovermode: "closest",
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("edge"), font: { color: colour("ink") } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 10 }, maxheight: 0.3 },
    };
    const series = figure.series.map((one) => trace(figure, one));
    Plotly.react(box, series, layout, { displayModeBar: false, responsive: true, displaylogo: false });
    if (!drawn.has(box)) {
      box.on("plotly_click", (event) => {
        const cell = event.points[0] && event.points[0].customdata;
        if (typeof cell === "number") choose(cell);
      });
    }
    drawn.set(box, figure);
  }

  function figureOf(one, title) {
    const box = make("div", { class: "plot", role: "img", "aria-label": one.told });
    if (one.tall) box.style.height = `${one.tall}px`;
    const numbers = make("details", { class: "numbers" },
      make("summary", {}, "Numbers", make("span", { class: "spoken", text: ` of ${title}: ${one.y.title}` })));
    numbers.addEventListener("toggle", () => {
      if (numbers.open && numbers.children.length === 1) numbers.append(tableOf(one.table));
      if (drawn.has(box)) Plotly.Plots.resize(box); // the table may have taken some of its room
    });
    return [make("figure", {}, box, numbers), () => draw(box, one)];
  }

  // --- tables ------------------------------------------------------------------------------------

  // As many decimals as the largest number of the column needs; small ones keep three digits.
  function decimalsOf(values) {
    const numbers = values.filter((value) => typeof value === "number" && value !== 0);
    if (numbers.every(Number.isInteger)) return 0;
    const most = Math.max(...numbers.map(Math.abs));
    return Math.min(Math.max(3 - Math.floor(Math.log10(most)), 0), 9);
  }

  function shown(column, value, decimals) {
    if (value === null) return "–";
    if (typeof value !== "number") return value;
    if (column.form === "percent") return `${(100 * value).toFixed(1)} %`;
    const isSmall = value !== 0 && Math.abs(value) < 10 ** (2 - decimals);
    return isSmall || Math.abs(value) >= 1e9 ? digits(value, 3) : value.toFixed(decimals);
  }

  function order(column, one, other) {
    if (one === null || one === "") return other === null || other === "" ? 0 : 2;
    if (other === null || other === "") return -2;
    if (typeof one === "number" && typeof other === "number") return Math.sign(one - other);
    return Math.sign(String(one).localeCompare(String(other), undefined, { numeric: true }));
  }

  function cellOf(column, value, { share, heading, decimals, letters }) {
    const isText = ["text", "cell"].includes(column.form);
    const node = make(heading ? "th" : "td", { class: isText ? "text" : "number" });
    if (heading) node.scope = "row";
    if (column.form === "cell") {
      const button = make("button", { type: "button", class: "cell", text: page.cells[value] });
      button.addEventListener("click", () => choose(value));
      node.append(button);
    } else node.textContent = shown(column, value, decimals);
    if (isText) node.style.minWidth = `min(${Math.ceil(1.15 * letters)}ch, 24vw)`;
    if (share !== undefined && share !== null) node.style.background = `rgb(var(--tint) / ${0.55 * share})`;
    return node;
  }

  function tableOf(one) {
    const body = make("tbody");
    const heads = one.columns.map((column) => {
      const button = make("button", { type: "button", text: column.title });
      if (column.note) button.title = column.note;
      const isText = ["text", "cell"].includes(column.form);
      return make("th", { scope: "col", "aria-sort": "none", class: isText ? "text" : "number" }, button);
    });
    const heading = one.columns.findIndex((column) => ["text", "cell"].includes(column.form));
    const words = (column, value) => (column.form === "cell" ? page.cells[value] : String(value));
    const widths = one.columns.map((column, at) =>
      Math.min(18, Math.max(0, ...one.rows.map((row) => words(column, row[at]).length))));
    const decimals = one.columns.map((_, at) => decimalsOf(one.rows.map((row) => row[at])));
    const rows = one.rows.map((row, number) => {
      const shades = (one.shades && one.shades[number]) || [];
      const line = make("tr", {}, ...one.columns.map((column, at) => cellOf(column, row[at], {
        share: shades[at], heading: at === heading, decimals: decimals[at], letters: widths[at] })));
      const at = one.columns.findIndex((column) => column.form === "cell");
      if (at >= 0) line.dataset.cell = row[at];
      line.classList.toggle("chosen", at >= 0 && row[at] === chosen);
      return { row, line };
    });
    body.append(...rows.map(({ line }) => line));
    heads.forEach((head, at) => head.firstChild.addEventListener("click", () => {
      const up = one.columns[at].form === "text" || one.columns[at].form === "cell";
      const was = head.getAttribute("aria-sort");
      const next = was === "none" ? (up ? "ascending" : "descending")
        : was === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      const name = (value) => (one.columns[at].form === "cell" ? page.cells[value] : value);
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => {
        const found = order(one.columns[at], name(a.row[at]), name(b.row[at]));
        return Math.abs(found) === 2 ? found : sign * found; // what is unknown stays last
      });
      body.append(...rows.map(({ line }) => line));
    }));
    const table = make("table", {}, make("caption", { text: one.caption }),
      make("thead", {}, make("tr", {}, ...heads)), body);
    return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": one.caption }, table);
  }

  // --- views ---------------------------------------------------------------------------------------

  function card(verdict) {
    const facts = verdict.facts.map(([name, value, remark]) => make("div", {},
      make("dt", { text: name }), make("dd", { text: value }, make("small", { text: remark }))));
    const list = (tag, title, lines) => lines && lines.length
      ? [make("h3", { text: title }), make(tag, {}, ...lines.map((line) => make("li", { text: line })))] : [];
    return make("div", { class: "card" },
      make("p", { class: "said" },
        make("strong", { class: `word ${verdict.word.split(" ")[0]}`, text: verdict.word }),
        ` ${verdict.about}`),
      make("dl", {}, ...facts),
      ...list("ol", "Where the time goes", verdict.reasons),
      ...list("ul", "What puts this in doubt", verdict.flags));
  }

  function partOf(view) {
    return view.parts[view.parts.length > 1 ? chosen : 0];
  }

  function show(view) {
    const section = document.getElementById(view.key);
    const part = partOf(view);
    const box = section.querySelector(".shown");
    section.querySelector(".told").textContent = part ? part.told : view.lacking;
    for (const old of box.querySelectorAll(".plot")) {
      Plotly.purge(old);
      drawn.delete(old);
    }
    box.replaceChildren();
    const details = section.querySelector("details:not(.numbers)");
    if (!part || (details && !details.open)) return;
    const figures = (part.figures || []).map((one) => figureOf(one, view.title));
    if (part.verdict) box.append(card(part.verdict));
    box.append(...figures.map(([node]) => node), ...(part.tables || []).map(tableOf));
    if (part.notes) {
      box.append(make("ul", { class: "notes" }, ...part.notes.map((line) => make("li", { text: line }))));
    }
    figures.forEach(([, begin]) => begin());
  }

  function choose(cell) {
    chosen = cell;
    document.getElementById("cell").value = String(cell);
    page.views.filter((view) => view.parts.length > 1).forEach(show);
    for (const line of document.querySelectorAll("tr[data-cell]")) {
      line.classList.toggle("chosen", Number(line.dataset.cell) === chosen);
    }
  }

  const redraw = () => drawn.forEach((figure, box) => draw(box, figure));

  function begin() {
    const select = document.getElementById("cell");
    select.append(...page.cells.map((name, number) =>
      make("option", { value: number, text: short(name, 90) })));
    select.value = String(chosen);
    select.addEventListener("change", () => choose(Number(select.value)));
    for (const view of page.views) {
      const details = document.querySelector(`#${view.key} > details`);
      if (details) details.addEventListener("toggle", () => show(view));
      show(view);
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let opened = [];
    addEventListener("beforeprint", () => {
      document.documentElement.classList.add("printing");
      opened = [...document.querySelectorAll("section > details:not([open])")];
      opened.forEach((details) => { details.open = true; });
      page.views.forEach(show);
    });
    addEventListener("afterprint", () => {
      document.documentElement.classList.remove("printing");
      opened.forEach((details) => { details.open = false; });
      page.views.forEach(show);
    });
    document.documentElement.dataset.ready = "yes";
  }

  begin();
})();
