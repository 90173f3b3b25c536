// Every table of data: headers sort it (click, Enter or the space bar), a button copies it as tab-separated text, and
// where it is wider than the page it says that it scrolls.
(() => {
  "use strict";

  const ABSENT = /^(|–|—|-|nan|not available\b.*)$/is;

  // The number that a cell begins with: "57.3 ± 0.4", "−1.2 (−2.0 to +0.1)", "< 0.001", "1,880"; NaN of words.
  function number(text) {
    const found = /^([<>])?\s*([+\-−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[+\-−]?\d+)?)(?![\w])/i.exec(text);
    if (!found || !/\d/.test(found[2])) return NaN;
    const value = Number(found[2].replaceAll(",", "").replaceAll("−", "-"));
    const nudge = { "<": -1, ">": 1 }[found[1]] || 0; // "< 0.001" lies just below 0.001
    return value + nudge * Math.max(Math.abs(value) * 1e-9, 1e-12);
  }

  // What a reader reads in a cell: lines apart by "; ", without the marks of footnotes.
  function text(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("sup").forEach((mark) => mark.remove());
    copy.querySelectorAll("br").forEach((line) => line.replaceWith("; "));
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const rows = table.originalRows.map((row, place) => {
      const value = text(row.cells[column]);
      return { row, place, value, number: number(value), absent: ABSENT.test(value) };
    });
    const numeric = rows.some((of) => !of.absent) && rows.every((of) => of.absent || !Number.isNaN(of.number));
    const compare = numeric
      ? (a, b) => a.number - b.number
      : (a, b) => a.value.localeCompare(b.value, "en", { numeric: true });
    if (direction) {
      rows.sort((a, b) => a.absent - b.absent || (a.absent ? 0 : direction * compare(a, b)) || a.place - b.place);
    }
    body.append(...rows.map((of) => of.row));
  }

  function makeSortable(table) {
    const head = table.tHead && table.tHead.rows[table.tHead.rows.length - 1];
    if (!head || table.tBodies.length !== 1) return;
    table.originalRows = [...table.tBodies[0].rows];
    const width = head.cells.length;
    const regular = (row) => row.cells.length === width && [...row.cells].every((c) => c.rowSpan === 1 && c.colSpan === 1);
    if (table.originalRows.length < 2 || ![head, ...table.originalRows].every(regular)) return;
    [...head.cells].forEach((cell, column) => {
      if (!cell.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button"; // which answers to Enter and to the space bar
      button.className = "sort";
      cell.classList.toggle("short", cell.textContent.trim().length <= 14);
      button.title = "sort by this column";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[cell.getAttribute("aria-sort")] || "ascending";
        [...head.cells].forEach((other) => other.removeAttribute("aria-sort"));
        if (next !== "none") cell.setAttribute("aria-sort", next);
        sort(table, column, { ascending: 1, descending: -1, none: 0 }[next]);
      });
    });
  }

  function asText(table) {
    return [...table.rows].map((row) => [...row.cells].map(text).join("\t")).join("\n") + "\n";
  }

  // Pages opened from disk may not have the clipboard: then as browsers did it before.
  async function toClipboard(content) {
    try {
      await navigator.clipboard.writeText(content);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = content;
      area.style.cssText = "position: fixed; opacity: 0";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  function makeCopyable(table) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-table";
    button.textContent = "copy table";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      button.textContent = (await toClipboard(asText(table))) ? "copied" : "could not copy";
      button.focus();
      setTimeout(() => (button.textContent = "copy table"), 1600);
    });
    table.after(button);
  }

  function sayThatItScrolls(table) {
    const box = table.parentElement;
    const look = () => table.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
    new ResizeObserver(look).observe(box);
    look();
  }

  function start() {
    document.querySelectorAll("table.dataframe").forEach((table) => {
      makeSortable(table);
      makeCopyable(table);
      sayThatItScrolls(table);
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
