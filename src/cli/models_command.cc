// `sollol models`: which models are where, and having them loaded.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <thread>

#include "cli/asking.h"
#include "cli/command.h"
#include "cli/json_fields.h"

namespace sollol::cli {

namespace json = boost::json;

namespace {

constexpr double gigabyte = 1e9;
constexpr auto look_every = std::chrono::milliseconds(250);
constexpr const char* path = "/sollol/v1/models";

/// "a*, b, c (loading)"
std::string places_text(const json::object& model) {
  std::string out;
  for (const json::value& value : model.at("nodes").as_array()) {
    const json::object& node = value.as_object();
    const std::string state = text_of(node, "state");
    out += fmt::format("{}{}{}{}", out.empty() ? "" : ", ", text_of(node, "node"),
                       state == "loaded"    ? "*"
                       : state == "loading" ? " (loading)"
                                            : "",
                       flag_of(node, "available") ? "" : " (not available)");
  }
  return out;
}

/// "load llama3.2 at b: asked for 140 times an hour (advised)"
std::string step_text(const json::object& step) {
  std::string state = text_of(step, "state");
  if (state == "under way") state += fmt::format(" for {:.0f} s", number_of(step, "for_s"));
  if (const double total = number_of(step, "pull_total"); total > 0) {
    state += fmt::format(", {:.1f} of {:.1f} GB", number_of(step, "pull_completed") / gigabyte,
                         total / gigabyte);
  }
  return fmt::format("{} {} at {}: {} ({})", text_of(step, "do"), text_of(step, "model"),
                     text_of(step, "node"), text_of(step, "why"), state);
}

int print_models(const json::object& answer) {
  const json::array& models = answer.at("models").as_array();
  if (models.empty()) {
    fmt::print("no models; `ollama pull MODEL` through the gateway gets one on all nodes\n");
    return exit_done;
  }
  fmt::print("{:<28} {:>8} {:>9} {:>8} {:>5} {:>5} {:>7}  {}\n", "MODEL", "SIZE", "PER HOUR",
             "AT ONCE", "WISH", "NEED", "LOADED", "NODES (* loaded)");
  for (const json::value& value : models) {
    const json::object& model = value.as_object();
    fmt::print("{:<28} {:>8} {:>9.1f} {:>8.2f} {:>5} {:>5} {:>7}  {}\n", text_of(model, "name"),
               fmt::format("{:.1f} GB", number_of(model, "size") / gigabyte),
               number_of(model, "requests_per_hour"), number_of(model, "at_once"),
               number_of(model, "wish"), number_of(model, "need"), number_of(model, "resident"),
               places_text(model));
    if (const auto problem = text_of(model, "problem"); !problem.empty())
      fmt::print("{:<28} {}\n", "", problem);
  }
  fmt::print("\nplacement  {}{}\n", text_of(answer, "placement"),
             flag_of(answer, "auto_pull") ? ", pulls what is missing" : "");
  for (const json::value& step : answer.at("steps").as_array())
    fmt::print("           {}\n", step_text(step.as_object()));
  return exit_done;
}

struct WarmArguments {
  std::string model;
  std::uint32_t replicas = 1;
  bool no_wait = false;
};

/// What the gateway says of the model; null where it says nothing.
const json::object* find_model(const json::object& answer, std::string_view name) {
  for (const json::value& value : answer.at("models").as_array()) {
    if (text_of(value.as_object(), "name") == name) return &value.as_object();
  }
  return nullptr;
}

/// Shows how the wish comes true; the exit code once it has, or cannot.
class WarmProgress {
 public:
  explicit WarmProgress(std::uint32_t replicas) : replicas_(replicas) {}

  /// nullopt: not at its end yet.
  std::optional<int> take(const json::object& answer) {
    if (answer.contains("model")) name_ = text_of(answer, "model");
    const json::object* model = find_model(answer, name_);
    if (model == nullptr) return std::nullopt;
    for (const json::value& value : answer.at("steps").as_array()) {
      const json::object& step = value.as_object();
      if (text_of(step, "model") != text_of(*model, "name")) continue;
      if (text_of(step, "state") != "under way") continue;
      if (told_.insert(text_of(step, "do") + text_of(step, "node")).second)
        fmt::print("{} {} at {} …\n", text_of(step, "do") == "pull" ? "pulling" : "loading",
                   text_of(step, "model"), text_of(step, "node"));
    }
    std::fflush(stdout);
    const double resident = number_of(*model, "resident");
    if (resident >= replicas_) {
      fmt::print("{} is loaded on {:.0f} node{}: {}\n", text_of(*model, "name"), resident,
                 resident == 1 ? "" : "s", places_text(*model));
      return exit_done;
    }
    if (flag_of(*model, "asked")) return std::nullopt;
    fmt::print(stderr, "sollol: {} is loaded on {:.0f} of {} nodes: {}\n", text_of(*model, "name"),
               resident, replicas_, text_of(*model, "problem"));
    return exit_failed;
  }

 private:
  const std::uint32_t replicas_;
  std::string name_;  // as the nodes have it
  std::set<std::string> told_;
};

int warm(const Asking& asking, const WarmArguments& arguments) {
  const std::string body =
      json::serialize(json::object{{"model", arguments.model}, {"replicas", arguments.replicas}});
  WarmProgress progress(arguments.replicas);
  std::optional<int> end;
  const auto take = [&](const json::object& answer) {
    end = progress.take(answer);
    return int{exit_done};
  };
  if (arguments.replicas == 0) {
    return ask(asking, "POST", std::string(path) + "/warm", body, [&](const json::object&) {
      fmt::print("{}: nothing is wished for any more; nodes keep it as long as they would\n",
                 arguments.model);
      return int{exit_done};
    });
  }
  int code = ask(asking, "POST", std::string(path) + "/warm", body, take);
  if (asking.as_json || arguments.no_wait || code != exit_done) return code;
  while (!end) {
    std::this_thread::sleep_for(look_every);
    code = ask(asking, "GET", path, {}, take);
    if (code != exit_done) return code;
  }
  return *end;
}

}  // namespace

void add_models_command(CLI::App& root, Action& chosen) {
  CLI::App* models =
      root.add_subcommand("models", "The models of a running gateway: where they are; warm them");
  models->description(
      "The models of a running gateway. Without a further word it lists them: where they are and "
      "are loaded, how much they are asked for, and what should be loaded where.\n\n"
      "Examples:\n  sollol models\n"
      "  sollol models warm llama3.2 --replicas 2    has it loaded on two nodes\n"
      "  sollol models warm llama3.2 --replicas 0    no longer");
  auto asking = std::make_shared<Asking>();
  add_asking_flags(*models, *asking);
  models->fallthrough();
  models->require_subcommand(0, 1);
  const auto list = [&chosen, asking] {
    chosen = [asking] { return ask(*asking, "GET", path, {}, print_models); };
  };
  models->callback([models, list] {
    if (models->get_subcommands().empty()) list();
  });
  models->add_subcommand("list", "List the models")->callback(list);

  auto arguments = std::make_shared<WarmArguments>();
  CLI::App* word = models->add_subcommand(
      "warm",
      "Have a model loaded on several nodes; with models.placement = \"automatic\" it stays there");
  word->add_option("model", arguments->model, "Its name")->required();
  word->add_option("--replicas", arguments->replicas, "On how many nodes; 0 withdraws the wish")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  word->add_flag("--no-wait", arguments->no_wait, "Return at once, not when it is loaded");
  word->callback([&chosen, asking, arguments] {
    chosen = [asking, arguments] { return warm(*asking, *arguments); };
  });
}

}  // namespace sollol::cli
