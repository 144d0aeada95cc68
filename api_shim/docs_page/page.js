"use strict";

// Text only ever enters the page as text: nothing of the document is read as HTML.
function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf || schema.oneOf) return (schema.anyOf || schema.oneOf).map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return typeOf(schema.items || schema.prefixItems) + "[]";
  return schema.type || "any";
}

function table(heads, rows) {
  const body = rows.map((cells) => element("tr", "", ...cells.map((cell) => element("td", String(cell)))));
  return element("table", "", element("tr", "", ...heads.map((head) => element("th", head))), ...body);
}

function bodyOf(operation) {
  const content = (operation.requestBody || {}).content || {};
  return Object.entries(content).map(([mediaType, entry]) => `${mediaType}: ${typeOf(entry.schema)}`).join(", ");
}

function answerOf(response) {
  const content = response.content || {};
  return Object.values(content).map((entry) => typeOf(entry.schema)).join(", ");
}

function operationOf(path, method, operation) {
  const parts = [element("p", operation.description || "")];
  const parameters = (operation.parameters || []).map((parameter) =>
    [parameter.name, parameter.in, typeOf(parameter.schema), parameter.description || ""]);
  if (parameters.length) parts.push(table(["parameter", "in", "type", ""], parameters));
  if (bodyOf(operation)) parts.push(element("p", `Body: ${bodyOf(operation)}`));
  for (const entry of Object.values((operation.requestBody || {}).content || {}))
    if (entry.example !== undefined) parts.push(element("pre", JSON.stringify(entry.example, null, 2)));
  parts.push(table(["status", "answer", ""], Object.entries(operation.responses || {}).map(([status, response]) =>
    [status, answerOf(response), response.description || ""])));
  const summary = element("summary", "", element("b", method.toUpperCase()), element("code", path));
  return element("details", "", summary, ...parts);
}

function modelOf(name, schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, property]) => [
    field + (required.has(field) ? " *" : ""),
    typeOf(property),
    property.default === undefined ? "" : JSON.stringify(property.default),
    property.description || "",
  ]);
  const shown = rows.length ? table(["field", "type", "default", ""], rows) : element("p", typeOf(schema));
  return element("details", "", element("summary", name), element("p", schema.description || ""), shown);
}

async function show() {
  const answer = await fetch("openapi.json");
  const api = await answer.json();
  document.getElementById("title").textContent = `${api.info.title} API ${api.info.version}`;
  document.getElementById("description").textContent = api.info.description || "";
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      document.getElementById("operations").append(operationOf(path, method, operation));
    }
  }
  for (const [name, schema] of Object.entries((api.components || {}).schemas || {})) {
    document.getElementById("models").append(modelOf(name, schema));
  }
}

show();
