#include "discovery/node_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>
#include <cassert>
#include <utility>

#include "discovery/files.h"
#include "discovery/text.h"
#include "net/wake.h"

namespace sollol::discovery {
namespace {

namespace json = boost::json;

constexpr std::string_view found_origin = "discovered";
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

json::value parse_span(const JsonSpan& span, std::string_view text) {
  json::parse_options options;
  options.allow_comments = true;
  return json::parse(span.in(text), {}, options);
}

/// The kind of a value in the words of an error.
std::string_view kind_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "true or false";
    case json::kind::string:
      return "text";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
    default:
      return "a number";
  }
}

std::string quoted(std::string_view text) { return json::serialize(json::string(text)); }

/// An entry as Python's json module indents it, which is how these files came to be.
std::string entry_text(const NodeSpec& node) {
  auto text = fmt::format("{{\n      \"url\": {},\n      \"name\": {},\n      \"priority\": {}",
                          quoted(node.url), quoted(node.name), node.priority);
  if (node.slots) text += fmt::format(",\n      \"slots\": {}", *node.slots);
  if (!node.physical_host.empty())
    text += fmt::format(",\n      \"host\": {}", quoted(node.physical_host));
  if (!node.device.empty()) text += fmt::format(",\n      \"device\": {}", quoted(node.device));
  if (!node.mac.empty()) text += fmt::format(",\n      \"mac\": {}", quoted(node.mac));
  if (node.wake) text += ",\n      \"wake\": true";
  return text + "\n    }";
}

Result<std::uint32_t> to_count(const json::value& value) {
  json::error_code error;
  const auto number = value.is_number() ? value.to_number<std::uint32_t>(error) : 0;
  if (value.is_number() && !error) return number;
  return std::unexpected(
      bad_input(fmt::format("expected a whole number from 0, got {}",
                            value.is_number() ? json::serialize(value) : kind_of(value))));
}

Result<std::string> to_text(const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  return std::unexpected(bad_input(fmt::format("expected text in quotes, got {}", kind_of(value))));
}

/// A word about a node; a number is taken for its digits (`"device": 0`).
Result<std::string> to_label(const json::value& value, std::string_view field) {
  if (value.is_int64() || value.is_uint64()) return json::serialize(value);
  const auto text = to_text(value);
  if (!text) return std::unexpected(text.error());
  return parse_node_label(*text, field);
}

bool is_said(const JsonSpan* value, std::string_view text) {
  return value != nullptr && value->in(text) != "null" && value->in(text) != "\"\"";
}

/// The text without one item of `list` and its comma; comments around it stay, the line it leaves
/// blank goes.
std::string without_item(std::string text, const JsonSpan& list, std::size_t index) {
  const auto& items = list.children;
  const auto [begin, end] = std::pair{items[index].begin, items[index].end};
  auto hole = begin;
  // The parser takes a comma behind the last item too, where a comment follows it.
  if (const auto comma = next_comma(text, end); comma < list.end) text.erase(comma, 1);
  text.erase(begin, end - begin);
  if (index > 0 && index + 1 == items.size()) {
    text.erase(next_comma(text, items[index - 1].end), 1);
    --hole;
  }
  const auto line = hole == 0 ? 0 : text.rfind('\n', hole - 1) + 1;
  const auto line_end = text.find('\n', hole);
  if (line_end != std::string::npos && trim(text.substr(line, line_end - line)).empty())
    text.erase(line, line_end + 1 - line);
  return text;
}

}  // namespace

Result<NodeFile> NodeFile::parse(std::string text, std::string path) {
  NodeFile file(std::move(text), std::move(path));
  const auto read = file.read();
  if (!read) return std::unexpected(read.error());
  return file;
}

Result<NodeFile> NodeFile::load(std::string path) {
  auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  return parse(*std::move(text), std::move(path));
}

NodeFile NodeFile::empty(std::string path) {
  auto file = parse("{\n  \"nodes\": []\n}\n", std::move(path));
  assert(file.has_value());
  return *std::move(file);
}

Result<void> NodeFile::read() {
  keys_.clear();
  nodes_.clear();
  warnings_.clear();
  if (text_.starts_with(byte_order_mark)) text_.erase(0, byte_order_mark.size());
  json::parse_options options;
  options.allow_comments = true;
  json::stream_parser parser({}, options);
  json::error_code error;
  const auto used = parser.write_some(text_, error);
  if (!error && used < text_.size()) error = json::error::extra_data;
  if (!error) parser.finish(error);
  if (error) {
    return std::unexpected(
        bad_input(fmt::format("node file {}, line {}: {}; correct the JSON there", path_,
                              line_at(text_, used), error.message())));
  }
  root_ = scan_json(text_);
  const auto* nodes = text_[root_.begin] == '{' ? root_.find("nodes") : nullptr;
  if (nodes == nullptr || text_[nodes->begin] != '[') {
    return std::unexpected(bad_input(
        fmt::format("node file {}, line {}: no list of nodes; write {{\"nodes\": [{{\"url\": "
                    "\"http://host:11434\"}}]}}",
                    path_, line_at(text_, nodes == nullptr ? root_.begin : nodes->begin))));
  }
  for (std::size_t i = 0; i < nodes->children.size(); ++i) {
    auto node = read_entry(nodes->children[i], fmt::format("nodes[{}]", i));
    keys_.push_back(node ? address_key(*node) : "");
    if (node)
      nodes_.push_back(*std::move(node));
    else
      warnings_.push_back(node.error().detail + "; this node is left out");
  }
  return {};
}

Result<NodeSpec> NodeFile::read_entry(const JsonSpan& entry, std::string_view where) const {
  const auto fail = [&](const JsonSpan& at, std::string_view field, std::string_view why) {
    return std::unexpected(mistake(at, fmt::format("{}{}", where, field), why));
  };
  if (text_[entry.begin] != '{')
    return fail(entry, "", R"(expected an object like {"url": "http://host:11434"})");
  const auto* url = entry.find("url");
  if (url == nullptr) return fail(entry, ".url", R"(missing; write "url": "http://host:11434")");
  const auto url_text = to_text(parse_span(*url, text_));
  if (!url_text) return fail(*url, ".url", url_text.error().detail);
  auto node = parse_node_url(*url_text);
  if (!node) return fail(*url, ".url", node.error().detail);
  const auto* name = entry.find("name");
  if (is_said(name, text_)) {
    const auto text = to_text(parse_span(*name, text_));
    if (!text) return fail(*name, ".name", text.error().detail);
    const auto valid = parse_node_name(*text);
    if (!valid) return fail(*name, ".name", valid.error().detail);
    node->name = *valid;
  }
  if (const auto* priority = entry.find("priority");
      priority != nullptr && priority->in(text_) != "null") {
    const auto value = to_count(parse_span(*priority, text_));
    if (!value) return fail(*priority, ".priority", value.error().detail);
    node->priority = *value;
  }
  if (const auto* slots = entry.find("slots"); slots != nullptr && slots->in(text_) != "null") {
    const auto value = to_count(parse_span(*slots, text_));
    if (!value) return fail(*slots, ".slots", value.error().detail);
    if (*value > 0) node->slots = *value;
  }
  const auto read_label = [&](std::string_view field, std::string& into) -> Result<void> {
    const auto* label = entry.find(field);
    if (!is_said(label, text_)) return {};
    auto value = to_label(parse_span(*label, text_), field);
    if (!value) return fail(*label, fmt::format(".{}", field), value.error().detail);
    into = *std::move(value);
    return {};
  };
  if (const auto host = read_label("host", node->physical_host); !host)
    return std::unexpected(host.error());
  if (const auto device = read_label("device", node->device); !device)
    return std::unexpected(device.error());
  if (const auto wakes = read_wake(entry, where, *node); !wakes)
    return std::unexpected(wakes.error());
  node->origin = "node file " + path_;
  return node;
}

/// How the machine is woken.
Result<void> NodeFile::read_wake(const JsonSpan& entry, std::string_view where,
                                 NodeSpec& node) const {
  const auto fail = [&](const JsonSpan& at, std::string_view field, std::string_view why) {
    return std::unexpected(mistake(at, fmt::format("{}.{}", where, field), why));
  };
  if (const auto* mac = entry.find("mac"); is_said(mac, text_)) {
    const auto text = to_text(parse_span(*mac, text_));
    if (!text) return fail(*mac, "mac", text.error().detail);
    auto parsed = net::parse_mac(*text);
    if (!parsed) return fail(*mac, "mac", parsed.error().detail);
    node.mac = *std::move(parsed);
  }
  const auto* wake = entry.find("wake");
  if (wake == nullptr || wake->in(text_) == "null") return {};
  const auto value = parse_span(*wake, text_);
  if (!value.is_bool())
    return fail(*wake, "wake", fmt::format("expected true or false, got {}", kind_of(value)));
  node.wake = value.get_bool();
  const auto checked = check_wake(node);
  if (!checked) return std::unexpected(mistake(*wake, where, checked.error().detail));
  return {};
}

Error NodeFile::mistake(const JsonSpan& at, std::string_view field, std::string_view why) const {
  return bad_input(
      fmt::format("node file {}, line {}: {}: {}", path_, line_at(text_, at.begin), field, why));
}

void NodeFile::put(const NodeSpec& node) {
  const auto known = std::ranges::find(keys_, address_key(node));
  if (known == keys_.end()) {
    const auto& items = list().children;
    if (items.empty())
      replace(list().begin + 1, list().end - 1, "\n    " + entry_text(node) + "\n  ");
    else
      replace(items.back().end, items.back().end, ",\n    " + entry_text(node));
    return;
  }
  const auto index = static_cast<std::size_t>(known - keys_.begin());
  const auto set = [&](std::string_view field, const std::string& value) {
    const auto& entry = list().children[index];
    if (const auto* old = entry.find(field)) return replace(old->begin, old->end, value);
    const auto after = entry.children.back().end;  // there is a url at least
    replace(after, after, fmt::format(", \"{}\": {}", field, value));
  };
  set("name", quoted(node.name));
  set("priority", fmt::format("{}", node.priority));
  if (node.slots || list().children[index].find("slots") != nullptr)
    set("slots", fmt::format("{}", node.slots.value_or(0)));
  if (!node.physical_host.empty()) set("host", quoted(node.physical_host));
  if (!node.device.empty()) set("device", quoted(node.device));
  if (!node.mac.empty()) set("mac", quoted(node.mac));
  if (node.wake) set("wake", "true");
}

bool NodeFile::add(const NodeSpec& node) {
  if (std::ranges::find(keys_, address_key(node)) != keys_.end()) return false;
  put(node);
  return true;
}

bool NodeFile::add_found(const NodeSpec& node) {
  if (!add(node)) return false;
  const auto after = list().children.back().children.back().end;
  replace(after, after, fmt::format(",\n      \"origin\": {}", quoted(found_origin)));
  return true;
}

bool NodeFile::remove_found(const NodeSpec& node) {
  const auto known = std::ranges::find(keys_, address_key(node));
  if (known == keys_.end()) return false;
  const auto index = static_cast<std::size_t>(known - keys_.begin());
  const auto* origin = list().children[index].find("origin");
  if (origin == nullptr || origin->in(text_) != quoted(found_origin)) return false;
  text_ = without_item(text_, list(), index);
  replace(0, 0, "");
  return true;
}

bool NodeFile::remove(const NodeSpec& node) {
  bool removed = false;
  for (auto at = std::ranges::find(keys_, address_key(node)); at != keys_.end();
       at = std::ranges::find(keys_, address_key(node))) {
    text_ = without_item(text_, list(), static_cast<std::size_t>(at - keys_.begin()));
    replace(0, 0, "");
    removed = true;
  }
  return removed;
}

void NodeFile::replace(std::size_t begin, std::size_t end, std::string_view with) {
  text_.replace(begin, end - begin, with);
  const auto again = read();
  assert(again.has_value());
}

Result<void> NodeFile::save() const { return write_file_atomically(path_, text_); }

}  // namespace sollol::discovery
