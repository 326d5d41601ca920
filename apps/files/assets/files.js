// The page works without this; with it an upload shows how far it is.
"use strict";

const upload = document.getElementById("upload");
const progress = document.getElementById("progress");
const problem = document.getElementById("problem");
const bar = progress.querySelector("progress");
const told = progress.querySelector("output");
let running = null;

document.documentElement.classList.add("script");

function complain(text) {
  problem.textContent = text;
  problem.hidden = false;
  progress.hidden = true;
}

function send(files) {
  if (running || files.length === 0) return;
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  running = new XMLHttpRequest();
  running.upload.onprogress = (event) => {
    if (!event.lengthComputable) return;
    bar.value = event.loaded / event.total;
    told.textContent = Math.floor(100 * event.loaded / event.total) + " %";
  };
  running.onloadend = () => {
    const request = running;
    running = null;
    if (request.status === 201) {
      location.reload();
    } else if (request.aborted) {
      progress.hidden = true;
    } else {
      complain(request.responseText || "The upload broke off.");
    }
  };
  problem.hidden = true;
  progress.hidden = false;
  bar.value = 0;
  told.textContent = "0 %";
  running.open("POST", location.pathname);
  running.setRequestHeader("Accept", "application/json");
  running.send(form);
}

progress.querySelector("button").addEventListener("click", () => {
  if (!running) return;
  running.aborted = true;
  running.abort();
});
upload.addEventListener("change", (event) => send(event.target.files));
upload.addEventListener("submit", (event) => event.preventDefault());

let depth = 0;
function over(change) {
  depth = Math.max(0, depth + change);
  document.body.classList.toggle("over", depth > 0);
}
document.addEventListener("dragenter", () => over(1));
document.addEventListener("dragleave", () => over(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  over(0);
  send(event.dataTransfer.files);
});

for (const form of document.querySelectorAll("form[data-name]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm("Delete " + form.dataset.name + "?")) event.preventDefault();
  });
}
