"use strict";

// A node of a graph is chosen: its facts and its receptive field appear beside the drawing.
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

// The receptive field of the middle pixel of a node, as a frame on the image; what lies beyond the image is cut off.
function showField(network, field) {
  const frame = network.querySelector(".field rect");
  const { width, height } = network.querySelector(".field svg").viewBox.baseVal;
  const caption = network.querySelector(".field figcaption");
  const isKnown = /^[-\d ]+$/.test(field), isApart = field === "it does not depend on the image";
  const [x, y, w, h] = isKnown ? field.split(" ").map(Number) : isApart ? [0, 0, 0, 0] : [0, 0, width, height];
  Object.entries({ x, y, width: w, height: h }).forEach(([name, value]) => frame.setAttribute(name, value));
  caption.textContent = isKnown ? `receptive field of the middle pixel: ${h}×${w}` : isApart ? field : `it may depend on all of the image, ${field}`;
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

// A value in memory is chosen.
for (const value of document.querySelectorAll(".memory rect")) {
  value.addEventListener("click", () => {
    const figure = value.closest("figure");
    figure.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
    value.classList.add("chosen");
    figure.querySelector("figcaption").textContent = value.querySelector("title").textContent;
  });
}

// The first operation of the drawing that is to be seen. A wide drawing is moved to it.
function chooseFirst(network) {
  const first = network.querySelector(".drawing:not([hidden]) .node.operation");
  if (!first) return;
  choose(first);
  const drawing = first.closest(".drawing");
  const [box, frame] = [first, drawing].map((element) => element.getBoundingClientRect());
  drawing.scrollLeft += box.left - frame.left - (drawing.clientWidth - box.width) / 2;
}

// One of the drawings of a network.
for (const button of document.querySelectorAll(".switch button")) {
  button.addEventListener("click", () => {
    const section = button.closest("section");
    section.querySelectorAll(".switch button").forEach((other) => other.setAttribute("aria-pressed", other === button));
    section.querySelectorAll(".drawing").forEach((drawing) => {
      drawing.hidden = drawing.dataset.which !== button.dataset.which;
    });
    chooseFirst(button.closest(".network"));
  });
}

document.querySelectorAll(".network").forEach(chooseFirst);
