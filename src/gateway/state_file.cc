#include "gateway/state_file.h"

#include <boost/json.hpp>
#include <cmath>

#include "api/timestamp.h"

namespace sollol::gateway {

namespace json = boost::json;

namespace {

constexpr std::int64_t format_version = 1;

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::uint32_t count_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  boost::system::error_code bad;
  const auto number =
      value == nullptr || !value->is_number() ? 0 : value->to_number<std::uint32_t>(bad);
  return bad ? 0 : number;
}

/// A rate or duration: 0 (unknown) for what cannot be one.
double positive_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  boost::system::error_code bad;
  const double number = value == nullptr || !value->is_number() ? 0 : value->to_number<double>(bad);
  return !bad && std::isfinite(number) && number > 0 ? number : 0;
}

std::string_view admin_text(cluster::Admin admin) {
  return admin == cluster::Admin::enabled ? "enabled" : "draining";
}

json::object model_json(const cluster::LearntModel& model) {
  return {{"model", model.key},
          {"digest", model.digest},
          {"slots", model.slots},
          {"prefill_tokens_per_s", model.prefill_tokens_per_s},
          {"decode_tokens_per_s", model.decode_tokens_per_s},
          {"decode_share", model.decode_share},
          {"load_s", model.load_s},
          {"service_s", model.service_s},
          {"longest_gap_s", model.longest_gap_s}};
}

cluster::LearntModel parse_model(const json::object& object) {
  return {.key = text_of(object, "model"),
          .digest = text_of(object, "digest"),
          .slots = count_of(object, "slots"),
          .prefill_tokens_per_s = positive_of(object, "prefill_tokens_per_s"),
          .decode_tokens_per_s = positive_of(object, "decode_tokens_per_s"),
          .decode_share = positive_of(object, "decode_share"),
          .load_s = positive_of(object, "load_s"),
          .service_s = positive_of(object, "service_s"),
          .longest_gap_s = positive_of(object, "longest_gap_s")};
}

SavedNode parse_node(const json::object& object) {
  SavedNode node{.url = text_of(object, "url"),
                 .name = text_of(object, "name"),
                 .priority = count_of(object, "priority"),
                 .slots = count_of(object, "slots"),
                 .machine = text_of(object, "host"),
                 .device = text_of(object, "device"),
                 .models = {}};
  const auto* added = object.if_contains("added");
  node.added = added != nullptr && added->is_bool() && added->as_bool();
  if (text_of(object, "admin") == "draining") node.admin = cluster::Admin::draining;
  const auto* models = object.if_contains("models");
  if (models == nullptr || !models->is_array()) return node;
  for (const json::value& model : models->as_array()) {
    if (model.is_object()) node.models.push_back(parse_model(model.as_object()));
  }
  return node;
}

json::object sign_json(const NodeSign& sign) {
  return {{"url", sign.url},
          {"addresses", json::array(sign.addresses.begin(), sign.addresses.end())},
          {"version", sign.version}};
}

NodeSign parse_sign(const json::object& finding, std::string_view key) {
  NodeSign sign;
  const auto* value = finding.if_contains(key);
  if (value == nullptr || !value->is_object()) return sign;
  sign.url = text_of(value->as_object(), "url");
  sign.version = text_of(value->as_object(), "version");
  const auto* addresses = value->as_object().if_contains("addresses");
  if (addresses == nullptr || !addresses->is_array()) return sign;
  for (const json::value& address : addresses->as_array()) {
    if (address.is_string()) sign.addresses.emplace_back(address.as_string());
  }
  return sign;
}

json::object finding_json(const KeptFinding& finding) {
  return {{"a", sign_json(finding.a)},
          {"b", sign_json(finding.b)},
          {"relation", name(finding.relation)},
          {"confidence", finding.confidence},
          {"slowdown", finding.slowdown},
          {"source", name(finding.source)},
          {"time", api::format_timestamp(finding.when)}};
}

/// nullopt: it makes no sense, or a later version of the program wrote it.
std::optional<KeptFinding> parse_finding(const json::object& object) {
  KeptFinding finding{.a = parse_sign(object, "a"), .b = parse_sign(object, "b")};
  const auto relation = parse_relation(text_of(object, "relation"));
  const auto when = api::parse_timestamp(text_of(object, "time"));
  finding.confidence = positive_of(object, "confidence");
  finding.slowdown = positive_of(object, "slowdown");
  const bool sound = relation && when && finding.confidence > 0 && finding.confidence <= 1 &&
                     !finding.a.url.empty() && finding.a.url < finding.b.url;
  if (!sound) return std::nullopt;
  finding.relation = *relation;
  finding.when =
      WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(*when)));
  if (text_of(object, "source") == name(MeasuredBy::traffic)) finding.source = MeasuredBy::traffic;
  return finding;
}

}  // namespace

std::string state_text(const SavedState& state) {
  json::array nodes;
  for (const SavedNode& node : state.nodes) {
    json::array models;
    for (const cluster::LearntModel& model : node.models) models.push_back(model_json(model));
    nodes.push_back(json::object{{"url", node.url},
                                 {"name", node.name},
                                 {"priority", node.priority},
                                 {"slots", node.slots},
                                 {"host", node.machine},
                                 {"device", node.device},
                                 {"added", node.added},
                                 {"admin", admin_text(node.admin)},
                                 {"models", std::move(models)}});
  }
  json::object whole{{"sollol_state", format_version}, {"nodes", std::move(nodes)}};
  json::array contention;
  for (const KeptFinding& finding : state.contention) contention.push_back(finding_json(finding));
  if (!contention.empty()) whole["contention"] = std::move(contention);
  return json::serialize(whole) + "\n";
}

Result<SavedState> parse_state(std::string_view text) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(text, bad);
  const auto* fields = bad ? nullptr : parsed.if_object();
  const auto* version = fields == nullptr ? nullptr : fields->if_contains("sollol_state");
  if (version == nullptr || !version->is_int64())
    return std::unexpected(bad_input("it is no state file"));
  if (version->as_int64() != format_version)
    return std::unexpected(bad_input("another version of sollol wrote it"));
  SavedState state;
  if (const auto* found = fields->if_contains("contention"); found && found->is_array()) {
    for (const json::value& finding : found->as_array()) {
      if (!finding.is_object()) continue;
      if (auto parsed_finding = parse_finding(finding.as_object()))
        state.contention.push_back(std::move(*parsed_finding));
    }
  }
  const auto* nodes = fields->if_contains("nodes");
  if (nodes == nullptr || !nodes->is_array()) return state;
  for (const json::value& node : nodes->as_array()) {
    if (node.is_object()) state.nodes.push_back(parse_node(node.as_object()));
  }
  return state;
}

}  // namespace sollol::gateway
