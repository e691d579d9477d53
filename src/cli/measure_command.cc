// `sollol nodes measure`: which nodes slow each other.
#include "cli/measure_command.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdint>
#include <cstdio>

#include "cli/client.h"
#include "cli/json_fields.h"

namespace sollol::cli {

namespace json = boost::json;

namespace {

constexpr Duration connect_limit = std::chrono::seconds(10);

struct Arguments {
  std::string model;
  bool load = false;
  std::uint32_t requests = 0, tokens = 0, time_s = 0;  // 0: as the gateway is configured
};

std::string_view verdict_of(std::string_view relation) {
  if (relation == "same_device") return "share a device";
  if (relation == "same_host") return "one machine, a device each";
  if (relation == "independent") return "independent";
  return "unknown";
}

void print_probe(const json::object& line) {
  const json::object& probe = line.at("probe").as_object();
  const json::array& nodes = probe.at("nodes").as_array();
  const json::array& rates = probe.at("tokens_per_s").as_array();
  std::string what;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const double rate = rates[i].to_number<double>();
    what += fmt::format("{}{} {}", i == 0 ? "" : " beside ", std::string(nodes[i].as_string()),
                        rate > 0 ? fmt::format("{:.1f} tokens/s", rate) : "-");
  }
  const std::string problem = text_of(probe, "problem");
  fmt::print("{:>4}  {}{}{}\n", number_of(probe, "requests"), what, problem.empty() ? "" : "  ",
             problem);
}

/// Prints the lines of the gateway's report as they come.
class Printer {
 public:
  explicit Printer(bool raw) : raw_(raw) {}
  void piece(std::string_view bytes) {
    lines_.feed(bytes, [this](std::string_view text) { line(text); });
    std::fflush(stdout);
  }
  bool done() const { return done_; }
  /// Something is known at the end.
  bool known() const { return known_; }

 private:
  void line(std::string_view text) {
    if (raw_) fmt::print("{}\n", text);
    boost::system::error_code bad;
    const json::value parsed = json::parse(text, bad);
    if (bad || !parsed.is_object()) return;
    const json::object& record = parsed.as_object();
    if (record.contains("probe")) {
      if (!raw_) print_probe(record);
      return;
    }
    done_ = flag_of(record, "done");
    if (done_) finish(record);
  }

  void finish(const json::object& report) {
    const json::array& pairs = report.at("pairs").as_array();
    known_ = pairs.empty();
    for (const json::value& value : pairs)
      known_ = known_ || text_of(value.as_object(), "relation") != "unknown";
    if (raw_) return;
    if (pairs.empty())
      fmt::print("nothing to measure: no two nodes are suspected to share a machine or a device\n");
    for (const json::value& value : pairs) print_pair(value.as_object());
    if (const std::string ended = text_of(report, "ended"); !ended.empty())
      fmt::print("ended early: {}\n", ended);
    fmt::print("{} requests, {} tokens; `sollol nodes explain` shows what follows\n",
               number_of(report, "requests"), number_of(report, "tokens"));
  }

  static void print_pair(const json::object& pair) {
    fmt::print("{}, {}: {}", text_of(pair, "a"), text_of(pair, "b"),
               verdict_of(text_of(pair, "relation")));
    if (pair.at("follows").as_bool()) {
      fmt::print(" (follows from others)\n");
      return;
    }
    if (number_of(pair, "samples") > 0)
      fmt::print(" (confidence {:.3f}, {:.2f} times as slow, {} samples each)",
                 number_of(pair, "confidence"), number_of(pair, "slowdown"),
                 number_of(pair, "samples"));
    const std::string problem = text_of(pair, "problem");
    fmt::print("{}{}\n", problem.empty() ? "" : ": ", problem);
  }

  bool raw_;
  Lines lines_;
  bool done_ = false;
  bool known_ = false;
};

std::string body_of(const Arguments& arguments) {
  json::object body;
  if (!arguments.model.empty()) body["model"] = arguments.model;
  if (arguments.load) body["load"] = true;
  if (arguments.requests > 0) body["requests"] = arguments.requests;
  if (arguments.tokens > 0) body["tokens"] = arguments.tokens;
  if (arguments.time_s > 0) body["time_s"] = arguments.time_s;
  return json::serialize(body);
}

int run(const Arguments& arguments, const std::string& flag, bool as_json) {
  const std::string gateway = gateway_url(flag);
  Printer printer(as_json);
  const auto reply = fetch({.method = "POST",
                            .url = gateway + "/sollol/v1/locality/measure",
                            .body = body_of(arguments)},
                           connect_limit, [&](std::string_view bytes) { printer.piece(bytes); });
  if (!reply) {
    fmt::print(stderr, "sollol: no gateway answers at {}: {}\n", gateway, reply.error().detail);
    return exit_failed;
  }
  if (reply->status >= 400) {
    fmt::print(stderr, "sollol: {}\n", error_of(reply->body));
    return exit_failed;
  }
  if (!printer.done()) {
    fmt::print(stderr, "sollol: the answer broke off\n");
    return exit_failed;
  }
  return printer.known() ? exit_done : exit_failed;
}

}  // namespace

void add_measure_word(CLI::App& nodes, Action& chosen, std::shared_ptr<const std::string> gateway,
                      std::shared_ptr<const bool> as_json) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* measure = nodes.add_subcommand(
      "measure", "Measure which nodes share a machine or a device, by short requests to them");
  measure->description(
      "Measures which of the nodes that may share a machine or a device slow each other: short "
      "requests to each alone and to two at a time. A fleet that has work is left alone, and it "
      "ends when work comes. What is found is remembered. Exit code 1: refused, or nothing was "
      "found out.");
  measure->add_option("--model", arguments->model,
                      "Which model to ask; default: on each node the smallest that is loaded");
  measure->add_flag("--load", arguments->load,
                    "Have nodes load a model where none is: the smallest, or that of --model");
  measure
      ->add_option("--requests", arguments->requests,
                   "Most requests; default: locality.measure_requests")
      ->check(CLI::PositiveNumber);
  measure
      ->add_option("--tokens", arguments->tokens,
                   "Most tokens of one; default: locality.measure_tokens")
      ->check(CLI::PositiveNumber);
  measure->add_option("--time", arguments->time_s, "Most seconds; default: locality.measure_time_s")
      ->check(CLI::PositiveNumber);
  measure->callback([&chosen, arguments, gateway, as_json] {
    chosen = [arguments, gateway, as_json] { return run(*arguments, *gateway, *as_json); };
  });
}

}  // namespace sollol::cli
