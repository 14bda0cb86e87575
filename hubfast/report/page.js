"use strict";
// Sorts tables with data-sortable by columns whose header has data-sort. Missing values stay last.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.matches(".number")) return "value" in cell.dataset ? Number(cell.dataset.value) : null;
    return cell.textContent.trim();
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0);
  const sort = (header, column) => {
    const flip = { ascending: "descending", descending: "ascending" };
    const order = flip[header.getAttribute("aria-sort")] ?? header.dataset.sort;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || sign * compare(a, b));
    body.append(...rows.map(([, row]) => row));
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
  };
  headers.forEach((header, column) => {
    if (!header.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header, column));
    header.append(button);
  });
}
