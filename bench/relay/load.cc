// Puts load on a server that speaks Ollama's API and prints, as one JSON object, what came back and
// what it cost.
#include "load.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>

namespace sollol::bench {
namespace {

boost::json::object json(const Spread& spread) {
  return {{"p50", spread.p50},
          {"p90", spread.p90},
          {"p99", spread.p99},
          {"p999", spread.p999},
          {"max", spread.max}};
}

boost::json::object json(const ProcessUse& use) {
  return {{"cpu_s", std::chrono::duration<double>(use.cpu).count()},
          {"user_s", std::chrono::duration<double>(use.user).count()},
          {"system_s", std::chrono::duration<double>(use.system).count()},
          {"rss_kib", use.rss_kib},
          {"pss_kib", use.pss_kib}};
}

boost::json::object json(const RequestReport& report) {
  return {{"requests", report.requests},
          {"failed", report.failed},
          {"seconds", report.seconds},
          {"latency_us", json(report.latency)},
          {"used", json(report.used)}};
}

boost::json::object json(const StreamReport& report) {
  return {{"opened", report.opened},
          {"ended_rightly", report.ended_rightly},
          {"lost", report.lost},
          {"first_loss", report.first_loss},
          {"open_at_once", report.open_at_once},
          {"tokens", report.tokens},
          {"reads", report.reads},
          {"seconds", report.seconds},
          {"to_socket_us", json(report.to_socket)},
          {"to_client_us", json(report.to_client)},
          {"used", json(report.used)},
          {"held", json(report.held)}};
}

/// The options that both kinds of load share, as the command line gives them.
struct Common {
  std::string target;
  double warmup_s = 1;
  double seconds = 5;
  std::vector<pid_t> watched;
  std::vector<std::string> fields;
};

void add_common(CLI::App& app, Common& common) {
  app.add_option("--target", common.target, "loopback ADDRESS:PORT of the server")->required();
  app.add_option("--warmup", common.warmup_s, "seconds under load before measuring")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", common.seconds, "seconds to measure")->check(CLI::PositiveNumber);
  app.add_option("--watch", common.watched,
                 "processes whose CPU time and memory to measure, with their children");
  app.add_option("--field", common.fields, "a further header field, as NAME: VALUE; repeatable");
}

template <class Load>
void take_common(Load& load, const Common& common) {
  load.target = Endpoint::parse(common.target);
  load.warmup = std::chrono::duration<double>(common.warmup_s);
  load.measured = std::chrono::duration<double>(common.seconds);
  load.watched = common.watched;
  for (const std::string& field : common.fields) load.fields += field + "\r\n";
}

int run_load(int argc, char** argv) {
  CLI::App app{
      "Puts load on a server that speaks Ollama's API; prints what came back as one JSON object."};
  app.require_subcommand(1);
  Common common;
  RequestLoad requests;
  auto* request_mode = app.add_subcommand(
      "requests", "whole answers over kept-alive connections, one after another");
  add_common(*request_mode, common);
  request_mode->add_option("--connections", requests.connections, "connections at once")
      ->check(CLI::PositiveNumber);
  request_mode
      ->add_option("--rate", requests.per_s,
                   "requests per second of all together, whether answers come or not; 0: as fast "
                   "as they come")
      ->check(CLI::NonNegativeNumber);
  StreamLoad streams;
  auto* stream_mode = app.add_subcommand("streams", "many streams at once, each seen to its end");
  add_common(*stream_mode, common);
  stream_mode->add_option("--streams", streams.streams, "streams at once")
      ->check(CLI::PositiveNumber);
  stream_mode->add_option("--rate", streams.tokens_per_s, "tokens per second of each")
      ->check(CLI::PositiveNumber);
  stream_mode->add_option("--open-rate", streams.opened_per_s, "streams opened per second")
      ->check(CLI::PositiveNumber);
  double slack_s = streams.slack.count();
  stream_mode->add_option("--slack", slack_s, "seconds that opening may take beyond its pace");
  CLI11_PARSE(app, argc, argv);
  raise_fd_limit();
  if (request_mode->parsed()) {
    take_common(requests, common);
    fmt::print("{}\n", boost::json::serialize(json(run_requests(requests))));
  } else {
    take_common(streams, common);
    streams.slack = std::chrono::duration<double>(slack_s);
    fmt::print("{}\n", boost::json::serialize(json(run_streams(streams))));
  }
  return 0;
}

}  // namespace

Spread Spread::of(std::vector<std::int64_t>& samples_ns) {
  if (samples_ns.empty()) return {};
  std::ranges::sort(samples_ns);
  const auto at = [&](double share) {
    const auto last = static_cast<double>(samples_ns.size() - 1);
    return static_cast<double>(samples_ns[static_cast<std::size_t>(last * share)]) / 1000;
  };
  return {.p50 = at(0.5), .p90 = at(0.9), .p99 = at(0.99), .p999 = at(0.999), .max = at(1)};
}

}  // namespace sollol::bench

int main(int argc, char** argv) {
  try {
    return sollol::bench::run_load(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "relay_load: {}\n", error.what());
    return 1;
  }
}
