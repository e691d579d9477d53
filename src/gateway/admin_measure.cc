#include "gateway/admin_measure.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/json.hpp>

#include "gateway/admin_answer.h"
#include "gateway/control.h"
#include "gateway/worker.h"
#include "http/framing.h"

namespace sollol::gateway {

namespace asio = net::asio;
namespace json = boost::json;

namespace {

constexpr Duration report_interval = 50ms;

json::object probe_json(const MeasuredProbe& probe) {
  json::array nodes{json::string(probe.a)}, rates{probe.a_rate};
  if (!probe.b.empty()) {
    nodes.emplace_back(probe.b);
    rates.emplace_back(probe.b_rate);
  }
  json::object out{{"nodes", std::move(nodes)},
                   {"tokens_per_s", std::move(rates)},
                   {"requests", probe.requests_so_far}};
  if (!probe.problem.empty()) out["problem"] = probe.problem;
  return out;
}

json::object report_json(const MeasureReport& report) {
  json::array pairs;
  for (const MeasuredPair& pair : report.pairs) {
    json::object out{{"a", pair.a},
                     {"b", pair.b},
                     {"relation", name(pair.relation)},
                     {"confidence", pair.confidence},
                     {"slowdown", pair.slowdown},
                     {"samples", pair.samples},
                     {"follows", pair.follows}};
    if (!pair.problem.empty()) out["problem"] = pair.problem;
    pairs.push_back(std::move(out));
  }
  return {{"done", report.began && !report.running},
          {"running", report.running},
          {"ended", report.ended},
          {"requests", report.requests},
          {"requests_max", report.requests_max},
          {"tokens", report.tokens},
          {"pairs", std::move(pairs)}};
}

/// Empty, or `{"model"?, "load"?, "requests"?, "tokens"?, "time_s"?}`; the error names the field.
Result<MeasureWish> parse_wish(std::string_view body) {
  MeasureWish wish;
  if (body.empty()) return wish;
  boost::system::error_code bad;
  const json::value parsed = json::parse(body, bad);
  if (bad || !parsed.is_object()) return std::unexpected(bad_input("the body is not JSON"));
  const json::object& fields = parsed.as_object();
  const auto count = [&](std::string_view key) -> Result<std::optional<std::uint32_t>> {
    const auto* value = fields.if_contains(key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    if (!value->is_int64() || value->as_int64() < 1 || value->as_int64() > 1'000'000)
      return std::unexpected(bad_input(fmt::format("{}: must be a whole number from 1", key)));
    return static_cast<std::uint32_t>(value->as_int64());
  };
  if (const auto* model = fields.if_contains("model"); model != nullptr) {
    if (!model->is_string()) return std::unexpected(bad_input("model: must be a name"));
    wish.model = std::string(model->as_string());
  }
  if (const auto* load = fields.if_contains("load"); load != nullptr) {
    if (!load->is_bool()) return std::unexpected(bad_input("load: must be true or false"));
    if (load->as_bool()) wish.cold = MeasureWish::Cold::load;
  }
  const auto requests = count("requests"), tokens = count("tokens"), time = count("time_s");
  for (const auto* each : {&requests, &tokens, &time}) {
    if (!*each) return std::unexpected(each->error());
  }
  wish.requests_max = *requests;
  wish.tokens_max = *tokens;
  if (*time) wish.time_max = std::chrono::seconds(**time);
  return wish;
}

net::Task<MeasureReport> ask_control(Connection& client, std::size_t probes_seen) {
  Control& control = client.worker().shared().control;
  auto asking = asio::co_spawn(control.context(), control.measuring(probes_seen), net::use_task);
  co_return co_await std::move(asking);
}

net::Task<void> write_chunk(Connection& client, std::string text) {
  const std::string chunk = http::chunk_of(text);
  const std::string_view bytes = chunk;
  client.write({&bytes, 1});
  auto flushing = client.flush();
  co_await std::move(flushing);
}

/// Follows the measurement to its end.
net::Task<void> stream_progress(Connection& client) {
  Worker& worker = client.worker();
  Control& control = worker.shared().control;
  client.watch();
  const std::string head = client.head_text(
      200, "OK",
      fmt::format(
          "Date: {}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n",
          worker.http_date()));
  const std::string_view bytes = head;
  client.write({&bytes, 1});
  std::size_t seen = 0;
  bool told_to_stop = false;
  while (true) {
    auto asking = ask_control(client, seen);
    const MeasureReport report = co_await std::move(asking);
    std::string lines;
    for (const MeasuredProbe& probe : report.probes)
      lines += json::serialize(json::object{{"probe", probe_json(probe)},
                                            {"requests_max", report.requests_max}}) +
               "\n";
    seen = report.probes_total;
    if (!report.running) lines += json::serialize(report_json(report)) + "\n";
    if (!lines.empty() && !client.client_gone()) {
      auto writing = write_chunk(client, std::move(lines));
      co_await std::move(writing);
    }
    if (!report.running) break;
    const bool over = client.client_gone() || client.ended();
    if (over && !std::exchange(told_to_stop, true)) {
      std::string why =
          client.client_gone() ? "whoever asked for it has left" : "the gateway is shutting down";
      auto stopping =
          asio::co_spawn(control.context(), control.stop_measuring(std::move(why)), net::use_task);
      co_await std::move(stopping);
    }
    auto pause = worker.scheduler().sleep_until(worker.scheduler().now() + report_interval);
    co_await std::move(pause);
  }
  if (!client.client_gone()) client.write({&http::last_chunk, 1});
}

}  // namespace

net::Task<void> serve_measurement(Connection& client) {
  auto reading = read_or_refuse(client);
  const std::optional<std::string_view> body = co_await std::move(reading);
  if (!body) co_return;
  Result<MeasureWish> wish = parse_wish(*body);
  if (!wish) {
    auto answering = answer_error(client, 400, wish.error().detail);
    co_await std::move(answering);
    co_return;
  }
  client.release_body();
  Control& control = client.worker().shared().control;
  auto starting =
      asio::co_spawn(control.context(), control.start_measuring(std::move(*wish)), net::use_task);
  const Result<void> started = co_await std::move(starting);
  if (!started) {
    const int status = started.error().kind == ErrorKind::overloaded ? 409 : 400;
    auto answering = answer_error(client, status, started.error().detail);
    co_await std::move(answering);
    co_return;
  }
  auto streaming = stream_progress(client);
  co_await std::move(streaming);
}

net::Task<void> show_measurement(Connection& client) {
  constexpr std::size_t no_probes = ~std::size_t{0};
  auto asking = ask_control(client, no_probes);
  const MeasureReport report = co_await std::move(asking);
  auto answering =
      client.answer(200, api::json_content_type, json::serialize(report_json(report)) + "\n");
  co_await std::move(answering);
}

}  // namespace sollol::gateway
