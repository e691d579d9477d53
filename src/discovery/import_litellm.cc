#include <fmt/format.h>

#include <limits>

#include "discovery/import_yaml.h"
#include "discovery/text.h"

namespace sollol::discovery {
namespace {

constexpr std::string_view ollama_at_home =
    "http://localhost:11434";  // LiteLLM's own default for Ollama
constexpr auto rank_last = std::numeric_limits<std::int64_t>::max();

/// Whether a deployment's calls end at an Ollama node, and under which model name there.
struct Deployment {
  bool is_ollama = false;
  std::string model;
};

Deployment read_deployment(const YAML::Node& params, std::string_view base) {
  const auto model = scalar(params["model"]).value_or("");
  for (const std::string_view provider : {"ollama/", "ollama_chat/"}) {
    if (model.starts_with(provider)) return {true, model.substr(provider.size())};
  }
  const auto provider = scalar(params["custom_llm_provider"]).value_or("");
  if (provider == "ollama" || provider == "ollama_chat") return {true, model};
  // Ollama's OpenAI routes are often configured as a plain OpenAI server; the port gives it away.
  const auto node = parse_node_url(base, MissingPort::web);
  if (model.starts_with("openai/") && node && node->port == default_port)
    return {true, model.substr(7)};
  return {false, model};
}

/// `http://host:11434/v1` is where the OpenAI routes are; the node is at `http://host:11434`.
std::string_view without_api_path(std::string_view base) {
  while (base.ends_with('/')) base.remove_suffix(1);
  if (base.ends_with("/v1")) base.remove_suffix(3);
  return base;
}

void import_model(ImportDraft& draft, const YAML::Node& entry, std::string_view key) {
  const YAML::Node params = is_map(entry) ? entry["litellm_params"] : YAML::Node();
  if (!is_map(params)) return draft.leave_out(entry, key, "it has no litellm_params");
  const auto base = scalar(params["api_base"]).value_or(std::string(ollama_at_home));
  const auto [is_ollama, model] = read_deployment(params, base);
  if (!is_ollama)
    return draft.leave_out(entry, key, fmt::format("{} is not served by an Ollama node", model));
  if (base.starts_with("os.environ/")) {
    const auto variable = std::string_view(base).substr(11);
    return draft.leave_out(
        entry, key,
        fmt::format("its api_base is in the variable {}; add it with --node", variable));
  }
  auto node = parse_node_url(without_api_path(base), MissingPort::web);
  if (!node) return draft.leave_out(entry, key, node.error().detail);
  draft.add(entry, key, *std::move(node), whole_number(params["order"]).value_or(rank_last));
  const auto alias = scalar(entry["model_name"]).value_or(model);
  if (alias != model) {
    draft.leave_out(entry, fmt::format("{}.model_name", key),
                    fmt::format("no aliases; ask for {} instead of {}", model, alias));
  }
  leave_out_others(draft, params, fmt::format("{}.litellm_params", key),
                   {"model", "api_base", "order", "custom_llm_provider"},
                   "options of a model are set in its requests or its Modelfile");
}

void import_router(ImportDraft& draft, const YAML::Node& router) {
  if (!is_map(router)) return;
  if (const auto strategy = scalar(router["routing_strategy"])) {
    if (*strategy == "simple-shuffle")
      draft.set("policy", "random");
    else if (*strategy == "least-busy")
      draft.set("policy", "least_connections");
    else if (*strategy == "latency-based-routing")
      draft.set("policy", "expected_completion");
    else
      draft.leave_out(
          router["routing_strategy"], "router_settings.routing_strategy",
          fmt::format("SOLLOL has no {}; its default, expected_completion, stays", *strategy));
  }
}

/// Settings that LiteLLM takes in either of two sections.
void import_limits(ImportDraft& draft, const YAML::Node& section, const char* timeout) {
  if (!is_map(section)) return;
  if (const auto retries = whole_number(section["num_retries"]); retries && *retries >= 0) {
    draft.set("retry.attempts", *retries);
  }
  if (const auto limit = seconds(section[timeout]))
    draft.set("upstream.response_timeout_s", *limit);
}

}  // namespace

Imported import_litellm(const YAML::Node& root) {
  ImportDraft draft("litellm");
  const YAML::Node models = root["model_list"];
  for (std::size_t i = 0; is_list(models) && i < models.size(); ++i) {
    import_model(draft, models[i], fmt::format("model_list[{}]", i));
  }
  const YAML::Node router = root["router_settings"];
  const YAML::Node library = root["litellm_settings"];
  import_router(draft, router);
  import_limits(draft, router, "timeout");
  import_limits(draft, library, "request_timeout");
  constexpr std::string_view why = "SOLLOL has no such setting";
  leave_out_others(draft, router, "router_settings", {"routing_strategy", "num_retries", "timeout"},
                   why);
  leave_out_others(draft, library, "litellm_settings", {"num_retries", "request_timeout"}, why);
  leave_out_others(draft, root["general_settings"], "general_settings", {}, why);
  leave_out_others(draft, root, "",
                   {"model_list", "router_settings", "litellm_settings", "general_settings"}, why);
  return std::move(draft).finish();
}

}  // namespace sollol::discovery
