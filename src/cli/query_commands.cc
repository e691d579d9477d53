// The commands that ask a running gateway: nodes, status, run.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/asking.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/json_fields.h"
#include "cli/measure_command.h"
#include "cli/regret.h"

namespace sollol::cli {

namespace json = boost::json;

namespace {

constexpr double gigabyte = 1e9;

/// "3 models of 12.0 GB, 4.1 GB loaded, GPU: yes"
std::string capabilities_text(const json::object& told) {
  const double models = number_of(told, "models");
  return fmt::format("{} model{} of {:.1f} GB, {:.1f} GB loaded, GPU: {}", models,
                     models == 1 ? "" : "s", number_of(told, "disk_bytes") / gigabyte,
                     number_of(told, "loaded_bytes") / gigabyte, text_of(told, "gpu"));
}

std::string state_text(const json::object& node) {
  if (text_of(node, "admin") != "enabled") return text_of(node, "admin");
  return flag_of(node, "paused") ? "paused" : text_of(node, "state");
}

/// "agent on box: RTX 4090, 3.1 of 24.0 GB free; other programs make it 2.0 times as slow"
std::string agent_text(const json::object& node) {
  const json::value* told = node.if_contains("agent");
  if (told == nullptr) return {};
  const json::object& agent = told->as_object();
  std::string text = fmt::format("agent on {}", text_of(agent, "hostname"));
  std::string_view before = ": ";
  for (const json::value& value : agent.at("gpus").as_array()) {
    const json::object& gpu = value.as_object();
    text += fmt::format("{}{}, {:.1f} of {:.1f} GB free", before, text_of(gpu, "name"),
                        number_of(gpu, "memory_free") / gigabyte,
                        number_of(gpu, "memory_total") / gigabyte);
    before = "; ";
  }
  if (const double slowdown = number_of(node, "foreign_slowdown"); slowdown > 1.05)
    text += fmt::format("; other programs make it {:.1f} times as slow", slowdown);
  return text;
}

int print_nodes(const json::object& answer) {
  const json::array& nodes = answer.at("nodes").as_array();
  if (nodes.empty()) {
    fmt::print("no nodes; add one with `sollol nodes add http://HOST:11434`\n");
    return exit_no_node;
  }
  fmt::print("{:<20} {:<28} {:>8} {:<9} {:>7} {:>7} {:>7} {:>6} {:>9} {:>7} {:>6}  {}\n", "NAME",
             "URL", "PRIORITY", "STATE", "VERSION", "GPU", "LOADED", "RTT ms", "IN FLIGHT",
             "SERVED", "FAILED", "MODELS (* loaded)");
  for (const json::value& value : nodes) {
    const json::object& node = value.as_object();
    std::string models;
    for (const json::value& entry : node.at("models").as_array()) {
      const json::object& model = entry.as_object();
      models += fmt::format("{}{}{}", models.empty() ? "" : ", ", text_of(model, "name"),
                            model.at("loaded").as_bool() ? "*" : "");
    }
    const json::object& told = node.at("capabilities").as_object();
    fmt::print("{:<20} {:<28} {:>8} {:<9} {:>7} {:>7} {:>7} {:>6.1f} {:>9} {:>7} {:>6}  {}\n",
               text_of(node, "name"), text_of(node, "url"), number_of(node, "priority"),
               state_text(node), text_of(node, "version"), text_of(told, "gpu"),
               fmt::format("{:.1f} GB", number_of(told, "loaded_bytes") / gigabyte),
               number_of(node, "round_trip_s") * 1000, number_of(node, "in_flight"),
               number_of(node, "requests"), number_of(node, "failures"), models);
    if (const auto reason = text_of(node, "reason"); !reason.empty())
      fmt::print("{:<20} {}\n", "", reason);
    if (const auto agent = agent_text(node); !agent.empty()) fmt::print("{:<20} {}\n", "", agent);
    if (const double wakes = number_of(node, "wakes"); wakes > 0)
      fmt::print("{:<20} {} magic packet{} sent to wake it\n", "", wakes, wakes == 1 ? "" : "s");
  }
  return exit_done;
}

int print_status(const json::object& status) {
  fmt::print(
      "nodes      {} of {} healthy\nmodels     {}\nin flight  {}\nqueued     {}\npolicy     "
      "{}\nworkers    {}\nup         {:.0f} s\n",
      number_of(status, "nodes_healthy"), number_of(status, "nodes"), number_of(status, "models"),
      number_of(status, "in_flight"), number_of(status, "queued"), text_of(status, "policy"),
      number_of(status, "workers"), number_of(status, "uptime_s"));
  if (const json::value* thrashing = status.if_contains("thrashing")) {
    for (const json::value& one : thrashing->as_array())
      fmt::print("thrashing  {}\n", text_of(one.as_object(), "text"));
  }
  return number_of(status, "nodes_healthy") > 0 ? exit_done : exit_no_node;
}

struct ExplainArguments {
  Asking asking;
  std::string model;
  unsigned prompt_tokens = 500;
  std::optional<unsigned> answer_tokens;
  bool regret = false;
};

int explain_regret(const ExplainArguments& arguments) {
  const auto judge = [&](const json::object& decisions) {
    return ask(arguments.asking, "GET", "/sollol/v1/nodes", {}, [&](const json::object& nodes) {
      return print_regrets(decisions, nodes, arguments.model);
    });
  };
  return ask(arguments.asking, "GET", "/sollol/v1/decisions", {}, judge);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~:/").contains(c);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

int print_explanation(const json::object& answer) {
  fmt::print("{}: {:.0f} prompt tokens, {:.0f} answer tokens, policy {}\n\n",
             text_of(answer, "model"), number_of(answer, "prompt_tokens"),
             number_of(answer, "answer_tokens"), text_of(answer, "policy"));
  fmt::print("  {:<20} {:>8} {:>9} {:<13} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
             "NODE", "PRIORITY", "IN FLIGHT", "MODEL", "WAIT s", "LOAD s", "EVICT s", "CROWD s",
             "READ s", "WRITE s", "WAY s", "TOTAL s");
  const std::string chosen = answer.contains("node") ? text_of(answer, "node") : std::string();
  for (const json::value& value : answer.at("considered").as_array()) {
    const json::object& node = value.as_object();
    const std::string name = text_of(node, "node");
    fmt::print(
        "{} {:<20} {:>8} {:>9} {:<13} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f} "
        "{:>8.3f} "
        "{:>8.2f}{}{}\n",
        name == chosen ? '*' : ' ', name, number_of(node, "priority"),
        fmt::format("{}/{}", number_of(node, "in_flight"), number_of(node, "limit")),
        text_of(node, "model"), number_of(node, "wait_s"), number_of(node, "load_s"),
        number_of(node, "evict_s"), number_of(node, "crowd_s"), number_of(node, "prefill_s"),
        number_of(node, "decode_s"), number_of(node, "network_s"), number_of(node, "total_s"),
        node.at("measured").as_bool() ? "" : "  (guessed)",
        node.at("available").as_bool() ? "" : "  (not available)");
  }
  if (chosen.empty()) {
    fmt::print("\nnowhere now: {}\n", text_of(answer, "reason"));
    return exit_no_node;
  }
  fmt::print("\n* {} ({})\n", chosen, text_of(answer, "reason"));
  return exit_done;
}

struct RunArguments {
  Asking asking;
  std::string model;
  std::string prompt;
  std::string system;
  bool show_node = false;
};

/// Prints the text of each line of a generate stream as it comes.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(bool raw) : raw_(raw) {}
  void piece(std::string_view bytes) {
    lines_.feed(bytes, [this](std::string_view text) { line(text); });
    std::fflush(stdout);
  }
  const std::string& error() const { return error_; }
  bool done() const { return done_; }

 private:
  void line(std::string_view text) {
    if (raw_) fmt::print("{}\n", text);
    boost::system::error_code bad;
    const json::value parsed = json::parse(text, bad);
    if (bad || !parsed.is_object()) return;
    const json::object& record = parsed.as_object();
    if (!raw_) fmt::print("{}", text_of(record, "response"));
    if (const auto problem = text_of(record, "error"); !problem.empty()) error_ = problem;
    done_ = done_ || flag_of(record, "done");
  }
  bool raw_;
  Lines lines_;
  std::string error_;
  bool done_ = false;
};

int run_prompt(const RunArguments& arguments) {
  const std::string gateway = gateway_url(arguments.asking.gateway);
  json::object body{{"model", arguments.model}, {"prompt", arguments.prompt}, {"stream", true}};
  if (!arguments.system.empty()) body["system"] = arguments.system;
  AnswerPrinter printer(arguments.asking.as_json);
  const auto reply =
      fetch({.method = "POST", .url = gateway + "/api/generate", .body = json::serialize(body)},
            answer_limit, [&](std::string_view bytes) { printer.piece(bytes); });
  if (!reply) return complain(gateway, reply.error());
  if (reply->status >= 400 || !printer.error().empty() || !printer.done()) {
    fmt::print(stderr, "{}sollol: {}\n", reply->status < 400 ? "\n" : "",
               reply->status >= 400      ? error_of(reply->body)
               : printer.error().empty() ? "the answer broke off"
                                         : printer.error());
    return reply->status == 503 ? exit_no_node : exit_failed;
  }
  if (!arguments.asking.as_json) fmt::print("\n");
  if (arguments.show_node) fmt::print(stderr, "node: {}\n", reply->node);
  return exit_done;
}

}  // namespace

void add_nodes_command(CLI::App& root, Action& chosen) {
  CLI::App* nodes =
      root.add_subcommand("nodes", "The nodes of a running gateway: list, add, remove, drain");
  nodes->description(
      "The nodes of a running gateway. Without a further word it lists them: state, load, "
      "models.\n\n"
      "Examples:\n  sollol nodes\n  sollol nodes add http://192.168.1.22:11434 --name attic "
      "--priority 1\n"
      "  sollol nodes explain         which of them share a machine, and why\n"
      "  sollol nodes measure         find that out by short requests, while nothing else runs\n"
      "  sollol nodes drain attic     finishes what it has, takes nothing new");
  auto asking = std::make_shared<Asking>();
  add_asking_flags(*nodes, *asking);
  nodes->fallthrough();  // also after the further word
  nodes->require_subcommand(0, 1);
  nodes->callback([&chosen, asking, nodes] {
    if (nodes->get_subcommands().empty()) {
      chosen = [asking] { return ask(*asking, "GET", "/sollol/v1/nodes", {}, print_nodes); };
    }
  });
  nodes->add_subcommand("list", "List the nodes")->callback([&chosen, asking] {
    chosen = [asking] { return ask(*asking, "GET", "/sollol/v1/nodes", {}, print_nodes); };
  });

  nodes
      ->add_subcommand("explain",
                       "Which nodes share a machine, why, and whether parallel work helps")
      ->callback([&chosen, asking] {
        chosen = [asking] {
          return ask(*asking, "GET", "/sollol/v1/locality", {}, [](const json::object& answer) {
            fmt::print("{}", text_of(answer, "text"));
            return int{exit_done};
          });
        };
      });

  add_measure_word(*nodes, chosen, {asking, &asking->gateway}, {asking, &asking->as_json});
  nodes->add_subcommand("save", "Write the nodes that were found or added into the node file")
      ->callback([&chosen, asking] {
        chosen = [asking] {
          return ask(*asking, "POST", "/sollol/v1/nodes/save", {}, [](const json::object& answer) {
            fmt::print("saved in {}: {} new\n", text_of(answer, "file"),
                       number_of(answer, "added"));
            return int{exit_done};
          });
        };
      });

  struct Added {
    std::string url, name, host, device;
    std::uint32_t priority = 0, slots = 0;
    bool unprobed = false, save = false;
  };
  auto added = std::make_shared<Added>();
  CLI::App* add = nodes->add_subcommand("add", "Add a node; it is asked first what it can do");
  add->add_option("url", added->url, "http://HOST:11434")->required();
  add->add_option("--name", added->name, "What to call it; default: its host");
  add->add_option("--priority", added->priority, "Lower is preferred; default 0");
  add->add_option("--slots", added->slots, "Concurrent requests per model; default: learnt");
  add->add_option("--host", added->host, "The machine it runs on: equal words, one machine");
  add->add_option("--device", added->device, "The GPU it works with, a name of that machine's own");
  add->add_flag("--no-probe", added->unprobed, "Add it even if it does not answer now");
  add->add_flag("--save", added->save, "Also write it into the gateway's node file");
  add->callback([&chosen, asking, added] {
    chosen = [asking, added] {
      json::object body{{"url", added->url},
                        {"name", added->name},
                        {"priority", added->priority},
                        {"slots", added->slots},
                        {"host", added->host},
                        {"device", added->device},
                        {"auto_probe", !added->unprobed},
                        {"save", added->save}};
      return ask(*asking, "POST", "/sollol/v1/nodes", json::serialize(body),
                 [](const json::object& answer) {
                   fmt::print("added {} ({})\n", text_of(answer, "name"), text_of(answer, "url"));
                   if (const auto* told = answer.if_contains("capabilities"))
                     fmt::print("Ollama {}, {}\n", text_of(answer, "version"),
                                capabilities_text(told->as_object()));
                   return int{exit_done};
                 });
    };
  });

  const auto by_name = [&](const char* verb, const char* what, std::string method,
                           std::string suffix) {
    auto name = std::make_shared<std::string>();
    CLI::App* command = nodes->add_subcommand(verb, what);
    command->add_option("name", *name, "The node's name, as `sollol nodes` lists it")->required();
    command->callback([&chosen, asking, name, method, suffix] {
      chosen = [asking, name, method, suffix] {
        return ask(*asking, method, "/sollol/v1/nodes/" + *name + suffix, {},
                   [](const json::object& answer) {
                     fmt::print("{}: {}\n", text_of(answer, "name"), text_of(answer, "done"));
                     return int{exit_done};
                   });
      };
    });
  };
  by_name("remove", "Forget a node", "DELETE", "");
  by_name("drain", "Let a node finish what it has and give it nothing new", "POST", "/drain");
  by_name("undrain", "Use a drained node again", "POST", "/undrain");
}

void add_status_command(CLI::App& root, Action& chosen) {
  CLI::App* status = root.add_subcommand("status", "One look at a running gateway");
  status->description("Nodes, models, requests in flight and queued of a running gateway.");
  auto asking = std::make_shared<Asking>();
  add_asking_flags(*status, *asking);
  status->callback([&chosen, asking] {
    chosen = [asking] { return ask(*asking, "GET", "/sollol/v1/status", {}, print_status); };
  });
}

void add_explain_command(CLI::App& root, Action& chosen) {
  CLI::App* explain = root.add_subcommand("explain", "Where a request would go now, and why");
  explain->description(
      "Asks a running gateway where a request for a model would go now, and what every node would "
      "cost it, in seconds:\nwaiting for a place, loading the model, what that pushes out, reading "
      "the prompt, writing "
      "the answer, and the way there and back.");
  explain->footer(
      "With --regret: what the gateway's last decisions cost against the node that would have been "
      "best, all else\nas it was: they are played again in the simulator, each once for every node "
      "that has its model.\n\nExamples:\n"
      "  sollol explain llama3.2 --prompt-tokens 2000 --answer-tokens 300\n"
      "  sollol explain --regret");
  auto arguments = std::make_shared<ExplainArguments>();
  add_asking_flags(*explain, arguments->asking);
  CLI::Option* model =
      explain->add_option("model", arguments->model, "The model's name, as `ollama list` shows it");
  explain->add_flag("--regret", arguments->regret,
                    "Judge the last decisions, of the model or of all, in hindsight");
  explain->add_option("--prompt-tokens", arguments->prompt_tokens, "How long the prompt is")
      ->capture_default_str();
  explain->add_option("--answer-tokens", arguments->answer_tokens,
                      "How long the answer will be; default: as this model's were");
  explain->callback([&chosen, arguments, model] {
    if (model->count() == 0 && !arguments->regret) throw CLI::RequiredError("model");
    chosen = [arguments] {
      if (arguments->regret) return explain_regret(*arguments);
      std::string path = fmt::format("/sollol/v1/explain?model={}&prompt_tokens={}",
                                     percent_encode(arguments->model), arguments->prompt_tokens);
      if (arguments->answer_tokens)
        path += fmt::format("&answer_tokens={}", *arguments->answer_tokens);
      return ask(arguments->asking, "GET", path, {}, print_explanation);
    };
  });
}

void add_run_command(CLI::App& root, Action& chosen) {
  CLI::App* run =
      root.add_subcommand("run", "Send one prompt through the gateway and print the answer");
  run->description(
      "Sends one prompt through a running gateway and prints the answer as it comes.\n\n"
      "Example:\n  sollol run llama3.2 \"Why is the sky blue?\"");
  auto arguments = std::make_shared<RunArguments>();
  add_asking_flags(*run, arguments->asking);
  run->add_option("model", arguments->model, "The model's name, as `ollama list` shows it")
      ->required();
  run->add_option("prompt", arguments->prompt, "What to ask")->required();
  run->add_option("--system", arguments->system, "A system prompt");
  run->add_flag("--show-node", arguments->show_node, "Say on standard error which node answered");
  run->callback([&chosen, arguments] { chosen = [arguments] { return run_prompt(*arguments); }; });
}

}  // namespace sollol::cli
