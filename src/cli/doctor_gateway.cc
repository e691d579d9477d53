// What a running gateway tells the doctor.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "api/model_name.h"
#include "cli/client.h"
#include "cli/doctor_gather.h"
#include "cli/json_fields.h"

namespace sollol::cli {

namespace json = boost::json;

namespace {

using State = doctor::GatewayFact::State;

/// The objects of a list; none where there is no such list.
std::vector<const json::object*> objects_of(const json::object& object, std::string_view key) {
  std::vector<const json::object*> found;
  const auto* list = object.if_contains(key);
  if (list == nullptr || !list->is_array()) return found;
  for (const json::value& value : list->as_array())
    if (value.is_object()) found.push_back(&value.as_object());
  return found;
}

std::vector<std::string> texts_of(const json::object& object, std::string_view key) {
  std::vector<std::string> found;
  const auto* list = object.if_contains(key);
  if (list == nullptr || !list->is_array()) return found;
  for (const json::value& value : list->as_array())
    if (value.is_string()) found.emplace_back(value.as_string());
  return found;
}

std::string key_of(const std::string& name) {
  const auto key = api::ModelKey::from(name);
  return key ? std::string(key->view()) : name;
}

doctor::NodeFact node_of(const json::object& node) {
  doctor::NodeFact fact{.name = text_of(node, "name"),
                        .url = text_of(node, "url"),
                        .origin = text_of(node, "origin"),
                        .version = text_of(node, "version"),
                        .round_trip = from_seconds(number_of(node, "round_trip_s"))};
  const std::string state = text_of(node, "state"), admin = text_of(node, "admin");
  fact.usable = state == "healthy" && admin == "enabled";
  fact.trouble = admin != "enabled" ? admin : text_of(node, "reason");
  if (fact.trouble.empty()) fact.trouble = state;
  for (const json::object* model : objects_of(node, "models")) {
    fact.models.push_back({.key = key_of(text_of(*model, "name")),
                           .digest = text_of(*model, "digest"),
                           .service_s = number_of(*model, "service_s"),
                           .decode_tokens_per_s = number_of(*model, "decode_tokens_per_s")});
    if (!flag_of(*model, "loaded")) continue;
    fact.loaded.push_back(
        {.key = key_of(text_of(*model, "name")),
         .context_length = static_cast<std::uint32_t>(number_of(*model, "context_length"))});
  }
  return fact;
}

void take_locality(const json::object& answer, doctor::LocalityFact& into) {
  for (const json::object* host : objects_of(answer, "hosts")) {
    into.machines.push_back({.id = text_of(*host, "id"),
                             .nodes = texts_of(*host, "nodes"),
                             .independent = texts_of(*host, "independent").size()});
  }
  for (const json::object* piece : objects_of(answer, "evidence")) {
    const std::string standing = text_of(*piece, "standing");
    into.evidence.push_back({.kind = text_of(*piece, "kind"),
                             .a = text_of(*piece, "a"),
                             .b = text_of(*piece, "b"),
                             .joins = standing == "joins" || standing == "agrees",
                             .text = text_of(*piece, "text")});
  }
  into.parallel = flag_of(answer, "parallel");
  into.reason = text_of(answer, "reason");
}

std::optional<json::object> get(const std::string& url, Duration timeout,
                                doctor::GatewayFact& gateway) {
  const auto reply = fetch({.method = "GET", .url = url, .body = {}}, timeout);
  if (!reply) {
    gateway.state = State::silent;
    gateway.detail = reply.error().detail;
    return std::nullopt;
  }
  boost::system::error_code bad;
  json::value parsed = json::parse(reply->body, bad);
  if (reply->status == 200 && !bad && parsed.is_object()) return std::move(parsed.as_object());
  const bool ours = reply->from_gateway;
  gateway.state =
      ours && (reply->status == 401 || reply->status == 403) ? State::refuses_us : State::foreign;
  gateway.detail = fmt::format("HTTP {}", reply->status);
  return std::nullopt;
}

}  // namespace

bool ask_gateway(const std::string& url, Duration timeout, doctor::Facts& facts) {
  facts.gateway.url = url;
  const auto nodes = get(url + "/sollol/v1/nodes", timeout, facts.gateway);
  if (!nodes) return false;
  const auto locality = get(url + "/sollol/v1/locality", timeout, facts.gateway);
  if (!locality) return false;
  const auto status = get(url + "/sollol/v1/status", timeout, facts.gateway);
  if (!status) return false;
  facts.gateway.state = State::answers;
  for (const json::object* one : objects_of(*status, "thrashing"))
    facts.gateway.thrashing.push_back(text_of(*one, "text"));
  for (const json::object* node : objects_of(*nodes, "nodes"))
    facts.nodes.push_back(node_of(*node));
  take_locality(*locality, facts.locality);
  return true;
}

}  // namespace sollol::cli
