"use strict";
/* The searchable tables of a report. The page holds its data as gzip in base64: the figures of all rows in one block,
   replies in blocks of many rows that are opened when a reader asks for one of them. Text of runs reaches the page as
   text nodes only, never as markup. */
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });
  const blocks = new Map();

  function unpack(id) {
    if (!blocks.has(id)) blocks.set(id, read(id));
    return blocks.get(id);
  }

  async function read(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(`data-${id}`).textContent.trim()), (c) => c.charCodeAt(0));
    const gunzip = new DecompressionStream("gzip");
    const writer = gunzip.writable.getWriter();
    writer.write(bytes);
    writer.close();
    return JSON.parse(await new Response(gunzip.readable).text());
  }

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function labelled(text, control) {
    return element("label", {}, element("span", {}, text), control);
  }

  function choice(text, options, onchange) {
    const select = element("select", { onchange: (event) => onchange(event.target.value) });
    for (const [value, name] of options) select.append(element("option", { value }, name));
    return labelled(text, select);
  }

  function written(value, column) {
    if (value === null) return "–";
    if (column.kind !== "number") return String(value);
    return value.toLocaleString("en-US", { maximumFractionDigits: column.digits });
  }

  class Explorer {
    constructor(root, data) {
      this.root = root;
      this.data = data;
      this.size = Number(root.dataset.page);
      this.group = data.groups.length > 1 ? 1 : 0;
      this.words = [];
      this.filters = new Map();
      this.sorted = null;
      this.descending = false;
      this.page = 0;
      this.open = new Set();
      this.build();
      this.refresh();
    }

    /* Whether a column or text is shown: of all runs together, of the first, or of the one that was chosen. */
    shows({ group }) {
      return group === null || group === 0 || group === this.group;
    }

    get columns() {
      return this.data.columns.filter((column) => this.shows(column));
    }

    build() {
      const { data, root } = this;
      const controls = element("div", { class: "controls", role: "search", "aria-label": `Search ${root.dataset.name}` });
      const search = (event) => {
        this.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
        this.restart();
      };
      controls.append(labelled("Search", element("input", { type: "search", oninput: search })));
      if (data.groups.length > 2) {
        const runs = data.groups.map((name, i) => [i, name]).slice(1);
        controls.append(
          choice(`${data.groups[0]} against`, runs, (value) => {
            this.group = Number(value);
            this.offerFilters();
            this.restart();
          }),
        );
      }
      this.filterBox = element("div", { class: "filters" });
      this.status = element("p", { role: "status", class: "count" });
      this.table = element("table", {}, element("caption", { class: "hidden" }, root.dataset.name));
      const scroll = element("div", { class: "scroll", role: "region", "aria-label": `Table of ${root.dataset.name}`, tabindex: 0 });
      scroll.append(this.table);
      this.back = element("button", { type: "button", onclick: () => this.turn(-1) }, "Previous page");
      this.forth = element("button", { type: "button", onclick: () => this.turn(1) }, "Next page");
      controls.append(this.filterBox);
      root.replaceChildren(controls, this.status, scroll, element("div", { class: "pages" }, this.back, this.forth));
      this.offerFilters();
    }

    offerFilters() {
      this.filters.clear();
      this.filterBox.replaceChildren();
      for (const column of this.columns.filter((c) => c.filter)) {
        const counts = new Map();
        for (const row of this.allowed()) {
          const value = column.values[row];
          if (value !== null) counts.set(value, (counts.get(value) || 0) + 1);
        }
        if (counts.size < 2) continue;
        const options = [...counts].sort((a, b) => b[1] - a[1]).map(([v, n]) => [v, `${v} (${n.toLocaleString("en-US")})`]);
        this.filterBox.append(
          choice(column.name, [["", "all"], ...options], (value) => {
            if (value === "") this.filters.delete(column);
            else this.filters.set(column, value);
            this.restart();
          }),
        );
      }
    }

    /* Rows of this table before any search: all, or those that the page restricts it to. */
    allowed() {
      const rows = [...Array(this.data.n).keys()];
      if (!this.root.dataset.only) return rows;
      const values = new Set(JSON.parse(this.root.dataset.values));
      const column = this.columns.find((c) => c.name === this.root.dataset.only);
      return column ? rows.filter((row) => values.has(column.values[row])) : [];
    }

    restart() {
      this.page = 0;
      this.open.clear();
      this.refresh();
    }

    turn(pages) {
      this.page += pages;
      this.refresh();
      this.root.scrollIntoView({ block: "start" });
    }

    sortBy(column) {
      this.descending = this.sorted === column ? !this.descending : column.kind === "number";
      this.sorted = column;
      this.page = 0;
      this.refresh();
      const index = this.columns.indexOf(column);
      this.table.tHead.rows[0].cells[index].querySelector("button").focus();
    }

    found() {
      const texts = this.columns.filter((column) => column.kind !== "number");
      const contains = (row) => {
        const text = texts.map((column) => column.values[row] ?? "").join("\n").toLowerCase();
        return this.words.every((word) => text.includes(word));
      };
      let rows = this.allowed();
      for (const [column, value] of this.filters) rows = rows.filter((row) => column.values[row] === value);
      if (this.words.length) rows = rows.filter(contains);
      if (this.sorted) {
        const values = this.sorted.values;
        const sign = this.descending ? -1 : 1;
        const order = this.sorted.kind === "number" ? (a, b) => a - b : collator.compare;
        rows.sort((a, b) => {
          const [x, y] = [values[a], values[b]];
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * order(x, y) || a - b;
        });
      }
      return rows;
    }

    refresh() {
      const rows = this.found();
      const pages = Math.max(1, Math.ceil(rows.length / this.size));
      this.page = Math.min(Math.max(this.page, 0), pages - 1);
      const shown = rows.slice(this.page * this.size, (this.page + 1) * this.size);
      const total = this.allowed().length.toLocaleString("en-US");
      const count = `${rows.length.toLocaleString("en-US")} of ${total} ${this.data.unit}`;
      this.status.textContent = pages > 1 ? `${count}, page ${this.page + 1} of ${pages}` : count;
      this.back.disabled = this.page === 0;
      this.forth.disabled = this.page === pages - 1;
      this.table.querySelectorAll("thead, tbody").forEach((part) => part.remove());
      const body = element("tbody");
      this.table.append(element("thead", {}, this.headRow()), body);
      for (const row of shown) {
        body.append(this.row(row));
        if (this.open.has(row) || this.root.dataset.open) this.show(row, body.lastChild);
      }
    }

    headRow() {
      const head = element("tr");
      for (const column of this.columns) {
        const direction = this.sorted !== column ? "none" : this.descending ? "descending" : "ascending";
        const button = element("button", { type: "button", onclick: () => this.sortBy(column) }, column.name);
        const cell = element("th", { scope: "col", class: column.kind }, button);
        if (direction !== "none") cell.setAttribute("aria-sort", direction);
        head.append(cell);
      }
      return head;
    }

    row(row) {
      const line = element("tr", { class: "row" });
      this.columns.forEach((column, i) => {
        const text = written(column.values[row], column);
        if (i) {
          line.append(element("td", { class: column.kind, "data-value": column.kind === "word" ? text : null }, text));
          return;
        }
        const toggle = (event) => {
          if (this.open.delete(row) || event.currentTarget.getAttribute("aria-expanded") === "true") this.hide(line);
          else this.show(row, line);
        };
        const button = element("button", { type: "button", "aria-expanded": "false", dir: "auto", onclick: toggle }, text);
        line.append(element("th", { scope: "row", class: "opener" }, button));
      });
      return line;
    }

    hide(line) {
      line.querySelector("button").setAttribute("aria-expanded", "false");
      if (line.nextSibling?.classList.contains("detail")) line.nextSibling.remove();
    }

    async show(row, line) {
      this.open.add(row);
      line.querySelector("button").setAttribute("aria-expanded", "true");
      const box = element("div", { class: "panes" }, "…");
      line.after(element("tr", { class: "detail" }, element("td", { colspan: this.columns.length }, box)));
      box.replaceChildren(...(await this.panes(row)));
    }

    /* What stands below an opened row: the whole texts, those of two runs side by side. */
    async panes(row) {
      const [block, position] = this.data.places[row];
      if (block < 0) return [element("p", {}, this.data.elsewhere)];
      const panes = (await unpack(`${this.root.dataset.source}-${block}`))[position];
      const visible = panes.filter((pane) => this.shows(pane));
      const wide = visible.filter((pane) => pane.group === null).map((pane) => this.pane(pane));
      const pair = visible.filter((pane) => pane.group !== null).map((pane) => this.pane(pane));
      return [...wide, element("div", { class: "pair" }, ...pair)];
    }

    pane({ title, text }) {
      const body = element("pre", { dir: "auto", tabindex: 0, role: "group", "aria-label": title }, text);
      return element("div", { class: "pane" }, element("p", { class: "pane-title" }, title), body);
    }
  }

  async function start() {
    for (const root of document.querySelectorAll(".explorer")) {
      root.explorer = new Explorer(root, await unpack(root.dataset.source));
    }
    document.documentElement.dataset.ready = "true";
  }
  start();
})();
