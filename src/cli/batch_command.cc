// `sollol batch`: many requests over the whole fleet.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <memory>

#include "base/environment.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/progress_bar.h"
#include "discovery/node_spec.h"
#include "sollol/batch.h"
#include "sollol/log.h"
#include "sollol/pool.h"

namespace sollol::cli {

namespace json = boost::json;

namespace {

constexpr Duration look_limit = std::chrono::seconds(2);

struct Arguments {
  BatchOptions options;
  std::string gateway;
  std::vector<std::string> nodes;
  std::string policy;
  std::string concurrency = "auto";
  std::int64_t failures_max = -1;
  bool as_they_finish = false;
  bool as_json = false;
};

/// Ctrl-C, and how often.
volatile std::sig_atomic_t asked_to_stop = 0;

void count_stop(int) { asked_to_stop = asked_to_stop + 1; }

/// While it lives Ctrl-C and SIGTERM are counted. No call goes on as if nothing had come.
class StopSignals {
 public:
  StopSignals() {
    struct sigaction action = {};
    action.sa_handler = count_stop;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
  }
  ~StopSignals() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct sigaction interrupt_, terminate_;
};

int wrong(const std::string& text) {
  fmt::print(stderr, "sollol batch: {}\n", text);
  return exit_wrong_usage;
}

std::expected<CallStarter, Failure> own_pool(const Arguments& arguments) {
  PoolOptions options;
  for (const std::string& flag : arguments.nodes) {
    const auto node = discovery::parse_node_flag(flag);
    if (!node) return std::unexpected(Failure{"--node: " + node.error().detail});
    options.nodes.push_back({.url = node->url,
                             .name = node->name,
                             .priority = node->priority,
                             .host = node->physical_host,
                             .device = node->device,
                             .slots = node->slots.value_or(0)});
  }
  if (!arguments.policy.empty()) options.policy = arguments.policy;
  auto opened = Pool::open(options);
  if (!opened) return std::unexpected(opened.error());
  auto pool = std::make_shared<Pool>(std::move(*opened));
  if (arguments.nodes.empty()) {
    fmt::print(stderr, "no gateway answers: looking for nodes\n");
    const auto found = pool->nodes().discover();
    if (!found) return std::unexpected(found.error());
    if (*found == 0) {
      return std::unexpected(
          Failure{"no gateway answers and no node was found; start one with `sollol up`, or name "
                  "nodes with --node http://HOST:11434",
                  true});
    }
  }
  return [pool](CallRequest request) { return pool->call(std::move(request)); };
}

std::expected<CallStarter, Failure> running_gateway(const std::string& url) {
  auto opened = GatewayClient::open(url, gateway_key());
  if (!opened) return std::unexpected(opened.error());
  auto client = std::make_shared<GatewayClient>(std::move(*opened));
  return [client](CallRequest request) { return client->call(std::move(request)); };
}

/// The gateway that was named, or the one that runs; else a pool of this process.
std::expected<CallStarter, Failure> find_target(const Arguments& arguments) {
  if (!arguments.nodes.empty()) return own_pool(arguments);
  const bool named = !arguments.gateway.empty() ||
                     !ProcessEnvironment().get("SOLLOL_GATEWAY").value_or("").empty();
  const std::string url = gateway_url(arguments.gateway);
  if (named) return running_gateway(url);
  const auto there = fetch({.url = url + "/api/version"}, look_limit);
  if (there && there->from_gateway) return running_gateway(url);
  return own_pool(arguments);
}

/// Tells on standard error how far a batch is, and what Ctrl-C does to it.
class Teller {
 public:
  explicit Teller(ProgressBar::Shown shown) : bar_(shown) {}

  BatchWish told(const BatchProgress& at) {
    if (at.width != width_) say(width_ = at.width);
    if (asked_to_stop > heard_) {
      heard_ = asked_to_stop;
      say(heard_ == 1 ? fmt::format("stopping when the {} requests in flight are done; again: at "
                                    "once",
                                    at.in_flight)
                      : fmt::format("leaving {} requests in flight", at.in_flight));
    }
    bar_.show(at);
    if (heard_ == 0) return BatchWish::go_on;
    return heard_ == 1 ? BatchWish::finish : BatchWish::abandon;
  }
  void end() { bar_.clear(); }

 private:
  void say(const std::string& text) {
    bar_.clear();
    fmt::print(stderr, "{}\n", text);
  }
  ProgressBar bar_;
  std::string width_;
  int heard_ = 0;
};

void print_report(const Arguments& arguments, const BatchReport& report) {
  const BatchProgress& at = report.progress;
  if (arguments.as_json) {
    json::object nodes;
    for (const BatchShare& share : at.shares)
      nodes[share.node] =
          json::object{{"requests", share.requests}, {"output_tokens", share.output_tokens}};
    fmt::print("{}\n", json::serialize(json::object{{"lines", at.lines},
                                                    {"done", at.done},
                                                    {"failed", at.failed},
                                                    {"resumed", at.resumed},
                                                    {"hedges", at.hedges},
                                                    {"seconds", at.elapsed_s},
                                                    {"width", at.width},
                                                    {"nodes", std::move(nodes)},
                                                    {"stopped", report.stopped}}));
    return;
  }
  std::string shares;
  for (const BatchShare& share : at.shares)
    shares += fmt::format("{}{} {}", shares.empty() ? "; " : ", ", share.node, share.requests);
  fmt::print(stderr, "{} of {} lines done, {} failed, in {:.1f} s{}\n", at.done, at.lines,
             at.failed, at.elapsed_s, shares);
  if (at.resumed > 0) fmt::print(stderr, "  {} of them by earlier runs\n", at.resumed);
  if (at.hedges > 0)
    fmt::print(stderr, "  {} requests at the end were asked at a second node too\n", at.hedges);
  if (!report.stopped.empty())
    fmt::print(stderr, "{}: the same command goes on from here\n", report.stopped);
  else if (at.failed > 0)
    fmt::print(stderr, "  their errors stand in {}; --retry-failed asks them again\n",
               arguments.options.output);
}

int run(Arguments arguments) {
  if (!arguments.policy.empty() && arguments.nodes.empty())
    return wrong(
        "--policy: a running gateway chooses by its own (`sollol up --policy`); name nodes with "
        "--node to choose here");
  if (!arguments.nodes.empty() && !arguments.gateway.empty())
    return wrong("--node and --gateway: give one of them");
  if (arguments.failures_max >= 0)
    arguments.options.failures_max = static_cast<std::size_t>(arguments.failures_max);
  if (arguments.as_they_finish) arguments.options.order = BatchOrder::finished;
  log_to([](LogLevel, std::string_view text) { fmt::print(stderr, "sollol batch: {}\n", text); },
         LogLevel::warning);
  const StopSignals signals;
  const auto target = find_target(arguments);
  if (!target) {
    fmt::print(stderr, "sollol batch: {}\n", target.error().text);
    return target.error().unreachable ? exit_no_node : exit_wrong_usage;
  }
  Teller teller(arguments.as_json ? ProgressBar::Shown::no : ProgressBar::Shown::on_terminals);
  const auto report = run_batch(arguments.options, *target,
                                [&teller](const BatchProgress& at) { return teller.told(at); });
  teller.end();
  if (!report) {
    fmt::print(stderr, "sollol batch: {}\n", report.error().text);
    return report.error().unreachable ? exit_no_node : exit_failed;
  }
  print_report(arguments, *report);
  return report->stopped.empty() && report->progress.failed == 0 ? exit_done : exit_failed;
}

/// "auto", or a number of requests.
std::string check_concurrency(const std::string& text) {
  if (text == "auto") return {};
  const bool number = !text.empty() && text.size() < 6 &&
                      text.find_first_not_of("0123456789") == std::string::npos && text != "0";
  return number ? "" : "write auto, or a number from 1 to 99999";
}

}  // namespace

void add_batch_command(CLI::App& root, Action& chosen) {
  CLI::App* batch = root.add_subcommand("batch", "Many requests over the whole fleet, resumable");
  batch->description(
      "Runs the requests of a JSON Lines file over all nodes and writes a result for each.\n\n"
      "A line is a request of Ollama's or OpenAI's API, {\"model\": ..., \"prompt\": ...}, or of "
      "OpenAI's batch files,\n"
      "{\"custom_id\", \"method\", \"url\", \"body\"}. What is done is kept in OUT.journal: after "
      "Ctrl-C, a crash or a\nreboot the same command goes on where it was.\n\n"
      "Examples:\n  sollol batch prompts.jsonl answers.jsonl\n"
      "  sollol batch prompts.jsonl answers.jsonl --node http://192.168.1.20:11434 --node "
      "http://192.168.1.21:11434\n"
      "Exit codes: 0 all lines are done, 1 lines failed or it was stopped, 2 wrong usage, 3 no "
      "usable node.");
  auto arguments = std::make_shared<Arguments>();
  batch->add_option("input", arguments->options.input, "Requests, one a line")->required();
  batch->add_option("output", arguments->options.output, "Results, one a line")->required();
  batch
      ->add_option("--gateway,--url", arguments->gateway,
                   "Where the gateway is; default SOLLOL_GATEWAY, OLLAMA_HOST, "
                   "http://127.0.0.1:11434; where none answers, nodes are looked for")
      ->type_name("URL");
  batch
      ->add_option("--node", arguments->nodes,
                   "Use this node, as `sollol up --node` takes it, and no gateway; repeatable")
      ->allow_extra_args(false)  // the files may follow
      ->type_name("URL[,name=..]");
  batch->add_option("--policy", arguments->policy, "How nodes are chosen; with --node only");
  batch
      ->add_option("--concurrency", arguments->concurrency,
                   "Requests at once; auto: as many as the nodes are faster with")
      ->check(check_concurrency)
      ->type_name("auto|N");
  batch
      ->add_option("--max-failures", arguments->failures_max,
                   "End when more lines than this have failed; default: never")
      ->check(CLI::NonNegativeNumber);
  batch->add_option("--endpoint", arguments->options.endpoint,
                    "The route of lines that name none, such as /v1/chat/completions; default: "
                    "told by their fields");
  batch->add_flag("--as-they-finish", arguments->as_they_finish,
                  "Write results as they end, not in the order of the input");
  batch->add_flag("--retry-failed", arguments->options.retry_failed,
                  "Ask lines again that failed in an earlier run");
  batch->add_flag("--json", arguments->as_json, "Print what was done as JSON");
  batch->callback([&chosen, arguments] {
    if (arguments->concurrency != "auto")
      arguments->options.concurrency = std::stoul(arguments->concurrency);
    chosen = [arguments] { return run(*arguments); };
  });
}

}  // namespace sollol::cli
