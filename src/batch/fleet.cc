#include "batch/fleet.h"

#include <algorithm>
#include <boost/json.hpp>

#include "api/model_name.h"

namespace sollol::batch {

namespace json = boost::json;

namespace {

std::unexpected<Error> bad_answer(std::string_view what) {
  return std::unexpected(Error{ErrorKind::bad_reply, Origin::gateway, Retry::never,
                               "the gateway's " + std::string(what) + " cannot be read"});
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

double number_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr || !value->is_number() ? 0 : value->to_number<double>();
}

bool truth_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_bool() && value->as_bool();
}

/// The objects of the list `key` at the top level of an answer.
Result<std::vector<json::object>> list_of(std::string_view text, std::string_view key) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(text, bad);
  const auto* list = bad || !parsed.is_object() ? nullptr : parsed.as_object().if_contains(key);
  if (list == nullptr || !list->is_array()) return bad_answer(key);
  std::vector<json::object> all;
  for (const json::value& one : list->as_array()) {
    if (one.is_object()) all.push_back(one.as_object());
  }
  return all;
}

FleetNode node_of(const json::object& told) {
  const std::string state = text_of(told, "state");
  // Healthy, and what it has is not known yet.
  const bool silent = state == "healthy" && text_of(told, "version").empty();
  FleetNode node{.name = text_of(told, "name"),
                 .usable = state == "healthy" && text_of(told, "admin") == "enabled" &&
                           !truth_of(told, "paused"),
                 .unknown = state == "unknown" || state == "starting" || silent,
                 .models = {}};
  const auto* models = told.if_contains("models");
  if (models == nullptr || !models->is_array()) return node;
  for (const json::value& value : models->as_array()) {
    if (!value.is_object()) continue;
    const json::object& model = value.as_object();
    const std::string name = text_of(model, "name");
    const auto key = api::ModelKey::from(name);
    node.models.push_back(
        {.model = key ? std::string(key->view()) : name,
         .limit = static_cast<std::uint32_t>(std::max(1.0, number_of(model, "limit"))),
         .in_flight = static_cast<std::uint32_t>(std::max(0.0, number_of(model, "in_flight"))),
         .loaded = truth_of(model, "loaded"),
         .tokens_per_s = number_of(model, "decode_tokens_per_s")});
  }
  return node;
}

}  // namespace

const FleetModel* FleetNode::find(std::string_view model) const noexcept {
  const auto found = std::ranges::find(models, model, &FleetModel::model);
  return found == models.end() ? nullptr : &*found;
}

std::size_t Fleet::slots(std::string_view model) const noexcept {
  std::size_t sum = 0;
  for (const FleetNode& node : nodes) {
    const FleetModel* has = node.usable ? node.find(model) : nullptr;
    sum += has == nullptr ? 0 : has->limit;
  }
  return sum;
}

std::size_t Fleet::owners(std::string_view model) const noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(nodes, [model](const FleetNode& node) {
    return node.usable && node.find(model) != nullptr;
  }));
}

bool Fleet::known() const noexcept { return std::ranges::none_of(nodes, &FleetNode::unknown); }

Result<Fleet> parse_fleet(std::string_view text) {
  const auto list = list_of(text, "nodes");
  if (!list) return std::unexpected(list.error());
  Fleet fleet;
  for (const json::object& one : *list) fleet.nodes.push_back(node_of(one));
  return fleet;
}

Result<Advice> parse_advice(std::string_view text) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(text, bad);
  if (bad || !parsed.is_object() || !parsed.as_object().contains("parallel"))
    return bad_answer("advice");
  return Advice{truth_of(parsed.as_object(), "parallel"), text_of(parsed.as_object(), "reason")};
}

Result<std::map<std::string, std::string, std::less<>>> parse_decisions(std::string_view text) {
  const auto list = list_of(text, "decisions");
  if (!list) return std::unexpected(list.error());
  std::map<std::string, std::string, std::less<>> nodes;
  for (const json::object& one : *list)  // newest first: the first of an id is its last attempt
    nodes.try_emplace(text_of(one, "request_id"), text_of(one, "node"));
  return nodes;
}

}  // namespace sollol::batch
