"use strict";
// Sorts and filters the tables. Without scripts they are plain tables in the store's order.
(() => {
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.value;
    return number === undefined ? cell.textContent : Number(number);
  };

  // Numbers before texts, empty cells last in either direction.
  const compare = (a, b, sign) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * a.localeCompare(b, "en", { numeric: true });
  };

  const sortBy = (table, column) => {
    const headers = [...table.tHead.rows[0].cells];
    const isRising = headers[column].getAttribute("aria-sort") !== "ascending";
    headers.forEach((header, i) => header.setAttribute("aria-sort",
      i !== column ? "none" : isRising ? "ascending" : "descending"));
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
    keyed.sort((a, b) => compare(a[0], b[0], isRising ? 1 : -1));
    body.append(...keyed.map((pair) => pair[1]));
  };

  const filter = (table, text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById(table.dataset.count).textContent = 
      `${shown} of ${rows.length} ${table.dataset.what}`;
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((header, column) =>
      header.querySelector("button").addEventListener("click", () => sortBy(table, column)));
    filter(table, "");
  }
  for (const input of document.querySelectorAll("input[data-table]")) {
    const table = document.getElementById(input.dataset.table);
    input.addEventListener("input", () => filter(table, input.value));
    filter(table, input.value);
  }
})();
