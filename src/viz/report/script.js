"use strict";

// A node of a graph is chosen: its facts, and what it sees of the image, appear beside the drawing.
function choose(node) {
  const network = node.closest(".network");
  network.querySelectorAll(".node.chosen").forEach((other) => other.classList.remove("chosen"));
  node.classList.add("chosen");
  network.querySelector(".details h4").textContent = node.dataset.name;
  const list = network.querySelector(".details dl");
  list.replaceChildren();
  for (const line of node.dataset.facts.split("\n")) {
    const [name, value] = line.split("\t");
    list.append(
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    );
  }
  showField(network, node.dataset.field);
}

// The receptive field as a frame in the middle of the image, cut off at its borders.
function showField(network, field) {
  const svg = network.querySelector(".field svg");
  const { width, height } = svg.viewBox.baseVal;
  const [high, wide] = field === "all" ? [height, width] : field.split(" ").map(Number);
  const [h, w] = [Math.min(high, height), Math.min(wide, width)];
  const frame = svg.querySelector("rect");
  frame.setAttribute("x", Math.floor((width - w) / 2));
  frame.setAttribute("y", Math.floor((height - h) / 2));
  frame.setAttribute("width", w);
  frame.setAttribute("height", h);
  network.querySelector(".field figcaption").textContent =
    field === "all" ? "may see all of the image, or none of it" : `sees ${high}×${wide} pixels`;
}

for (const node of document.querySelectorAll(".node")) {
  node.addEventListener("click", () => choose(node));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(node);
    }
  });
}

// Forward alone, or forward and backward.
for (const button of document.querySelectorAll(".switch button")) {
  button.addEventListener("click", () => {
    const section = button.closest("section");
    section.querySelectorAll(".switch button").forEach((other) => other.setAttribute("aria-pressed", other === button));
    section.querySelectorAll(".drawing").forEach((drawing) => {
      drawing.hidden = drawing.dataset.which !== button.dataset.which;
    });
  });
}

document.querySelectorAll(".network").forEach((network) => {
  const first = network.querySelector(".drawing:not([hidden]) .node.operation");
  if (first) choose(first);
});
