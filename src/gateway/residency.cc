#include "gateway/residency.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/json/parse.hpp>

#include "api/errors.h"
#include "api/json_text.h"
#include "api/timestamp.h"
#include "base/version.h"
#include "gateway/admission.h"
#include "gateway/control.h"
#include "gateway/node_call.h"
#include "gateway/spawn.h"

namespace sollol::gateway {

namespace asio = net::asio;
using Mode = ResidencyOptions::Mode;
using routing::ResidencyStep;
using Kind = ResidencyStep::Kind;

std::string_view name(Mode mode) noexcept {
  switch (mode) {
    case Mode::off:
      return "off";
    case Mode::advised:
      return "advised";
    case Mode::automatic:
      return "automatic";
  }
  return "off";
}

/// How far a pull is; bytes of what the node has told of so far.
struct PullProgress {
  std::atomic<std::uint64_t> total{0};
  std::atomic<std::uint64_t> completed{0};
};

/// A step under way.
struct ResidencyKeeper::Running {
  ResidencyStep step;
  Residence at;  // not of a pull
  TimePoint since{};
  std::shared_ptr<PullProgress> pull = std::make_shared<PullProgress>();
};

namespace {

constexpr std::size_t record_max = 64 * 1024;  // a line of a pull's progress; a longer one is cut

/// Takes up a line of a pull's progress. What is wrong, if the node says so.
std::string take_line(std::string_view line, PullProgress& progress, bool& done) {
  boost::system::error_code bad;
  const boost::json::value parsed = boost::json::parse(line, bad);
  if (bad || !parsed.is_object()) return {};
  const boost::json::object& record = parsed.as_object();
  if (record.contains("error")) return api::error_message(line);
  const auto* status = record.if_contains("status");
  done = done || (status != nullptr && status->is_string() && status->as_string() == "success");
  const auto number = [&](std::string_view field) {
    const auto* value = record.if_contains(field);
    return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>(bad) : 0;
  };
  // Of one layer after the other: the largest is the model, and tells.
  if (const std::uint64_t total = number("total"); total >= progress.total) {
    progress.total = total;
    progress.completed = number("completed");
  }
  return {};
}

/// Has the node pull the model. What went wrong, if anything did. On the worker's thread.
net::Task<std::string> pull(Worker& worker, std::shared_ptr<const FleetView> view, std::size_t node,
                            std::string model, std::shared_ptr<PullProgress> progress) {
  NodeCall call(worker, view->cluster->nodes[node]);
  std::string body = R"({"model":)";
  api::append_json_string(body, model);
  body += R"(,"stream":true})";
  auto sending = call.send(
      "POST", "/api/pull",
      fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\nUser-Agent: sollol/{} "
                  "(pull)\r\n",
                  body.size(), version),
      body);
  const Result<void> sent = co_await std::move(sending);
  if (!sent) co_return sent.error().detail;
  auto receiving = call.receive_head("POST");
  const Result<const http::ResponseHead*> head = co_await std::move(receiving);
  if (!head) co_return head.error().detail;
  if (const int status = (*head)->status; status != 200) {
    auto reading = call.receive_body(record_max);
    const Result<std::string> text = co_await std::move(reading);
    co_return fmt::format("answered {}: {}", status, text ? api::error_message(*text) : "nothing");
  }
  std::string line, problem;
  bool done = false;
  http::BodyWatcher& stream = call.body();
  while (stream.state() == http::BodyWatcher::State::reading && problem.empty()) {
    auto waiting = call.receive();
    const Result<std::string_view> piece = co_await std::move(waiting);
    if (!piece) co_return piece.error().detail;
    stream.feed(*piece, [&](std::string_view payload) {
      for (const char c : payload) {
        if (c != '\n') {
          if (line.size() < record_max) line += c;
          continue;
        }
        if (problem.empty()) problem = take_line(line, *progress, done);
        line.clear();
      }
    });
  }
  if (problem.empty() && !line.empty()) problem = take_line(line, *progress, done);
  co_return problem.empty() && !done ? "the pull broke off" : problem;
}

std::string_view doing(Kind kind) {
  return kind == Kind::load ? "loading" : kind == Kind::pull ? "pulling" : "keeping";
}

/// Seconds until the node unloads the model, as `/api/ps` told.
std::optional<double> expires_in_s(const FleetView& view, std::size_t node, const std::string& key,
                                   WallTime now) {
  const auto& loaded = view.listings[node]->loaded;
  const auto found = std::ranges::find(loaded, key, &api::LoadedModel::key);
  if (found == loaded.end()) return std::nullopt;
  const auto at = api::parse_timestamp(found->expires_at);
  if (!at) return std::nullopt;
  const auto now_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  return (static_cast<double>(*at) - static_cast<double>(now_ns)) * 1e-9;
}

}  // namespace

ResidencyKeeper::ResidencyKeeper(const OptionsSource& options, ViewSource& views, Control& control,
                                 Admission& admission, ColdLoads& loads, const Workers& workers)
    : options_(options),
      views_(views),
      control_(control),
      admission_(admission),
      loads_(loads),
      workers_(workers),
      scheduler_(control.context()),
      residency_(options.get()->residency.limits) {}

void ResidencyKeeper::restore(
    const std::map<std::string, std::pair<std::string, std::uint32_t>>& wishes) {
  for (const auto& [key, wish] : wishes) residency_.restore_wish(key, wish.first, wish.second);
}

void ResidencyKeeper::start() { spawn(control_.context(), "residency", watch()); }

net::Task<void> ResidencyKeeper::watch() {
  while (true) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + options_.get()->residency.interval);
    co_await std::move(pause);
    turn();
  }
}

/// Plans anew and begins what is to be done now.
void ResidencyKeeper::turn() {
  if (resting_) return;
  const auto options = options_.get();
  const auto view = views_.get();
  const WallTime wall = scheduler_.wall_now();
  residency_.set_limits(options->residency.limits);
  plan_ = residency_.plan(
      *view->cluster,
      {.waiting = [this](ModelId model) { return admission_.waiting(model); },
       .expires_in_s = [&](std::size_t node,
                           const std::string& key) { return expires_in_s(*view, node, key, wall); },
       .may_pull = options->residency.auto_pull},
      scheduler_.now());
  const bool automatic = options->residency.mode == Mode::automatic;
  for (const ResidencyStep& step : plan_.steps) {
    if (!automatic && !step.asked) continue;
    const bool under_way = std::ranges::any_of(running_, [&](const auto& running) {
      return running->step.node == step.node && running->step.key == step.key;
    });
    if (under_way || (step.kind != Kind::keep && !residency_.may_begin(step))) continue;
    auto running =
        std::make_shared<Running>(Running{.step = step,
                                          .at = {.view = view,
                                                 .node = step.node_index,
                                                 .model = view->cluster->find_model(step.key),
                                                 .replica = step.replica},
                                          .since = scheduler_.now()});
    carry_out(std::move(running));
  }
  if (options->residency.mode == Mode::advised) tell_advice();
}

/// What would be done, once for each time that it comes up.
void ResidencyKeeper::tell_advice() {
  std::set<std::pair<NodeId, std::string>> now;
  for (const ResidencyStep& step : plan_.steps) {
    if (step.kind == Kind::keep || step.asked) continue;
    now.emplace(step.node, step.key);
    if (told_.contains({step.node, step.key})) continue;
    spdlog::info(
        "model {}: should be {} at {} too ({}); `sollol models warm` does it, models.placement = "
        "\"automatic\" does such by itself",
        step.model, step.kind == Kind::load ? "loaded" : "pulled",
        views_.get()->cluster->nodes[step.node_index].info.name, step.why);
  }
  told_ = std::move(now);
}

void ResidencyKeeper::carry_out(std::shared_ptr<Running> running) {
  const ResidencyStep& step = running->step;
  const auto as_index = [](auto value) { return static_cast<std::size_t>(value); };
  counters_.begun[as_index(step.kind)][as_index(step.cause)].add();
  const std::string& node = running->at.view->cluster->nodes[step.node_index].info.name;
  if (step.kind == Kind::keep) {
    spdlog::debug("model {}: kept at {} ({})", step.model, node, step.why);
  } else {
    residency_.begun(step, scheduler_.now());
    spdlog::info("model {}: {} it at {} ({})", step.model, doing(step.kind), node, step.why);
  }
  running_.push_back(running);
  spawn(control_.context(), "residency", run(std::move(running)));
}

net::Task<void> ResidencyKeeper::run(std::shared_ptr<Running> running) {
  const ResidencyStep& step = running->step;
  Worker& worker = *workers_[turn_++ % workers_.size()];
  auto task = step.kind == Kind::load ? loads_.preload(worker, running->at)
              : step.kind == Kind::keep
                  ? loads_.keep(worker, running->at)
                  : pull(worker, running->at.view, running->at.node, step.model, running->pull);
  auto spawned = asio::co_spawn(worker.context(), std::move(task), net::use_task);
  const std::string problem = co_await std::move(spawned);
  std::erase(running_, running);
  const std::string& node = running->at.view->cluster->nodes[step.node_index].info.name;
  if (step.kind == Kind::keep) {
    if (!problem.empty()) spdlog::debug("model {}: not kept at {}: {}", step.model, node, problem);
    co_return;
  }
  if (!problem.empty()) {
    counters_.failed.add();
    spdlog::warn("model {}: {} it at {} failed: {}", step.model, doing(step.kind), node, problem);
  }
  auto refreshing = control_.refresh_nodes({step.node}, options_.get()->probe.ps_timeout);
  co_await std::move(refreshing);
  residency_.ended(step, problem.empty() ? std::string() : fmt::format("{}: {}", node, problem));
  turn();
}

net::Task<ResidencyReport> ResidencyKeeper::wish(std::string key, std::string model,
                                                 std::uint32_t replicas) {
  residency_.wish(key, std::move(model), replicas);
  turn();
  co_return report_now();
}

net::Task<std::map<std::string, std::pair<std::string, std::uint32_t>>> ResidencyKeeper::wishes() {
  co_return residency_.wishes();
}

net::Task<ResidencyReport> ResidencyKeeper::report() { co_return report_now(); }

ResidencyReport ResidencyKeeper::report_now() {
  const auto options = options_.get();
  const TimePoint now = scheduler_.now();
  ResidencyReport report{
      .mode = options->residency.mode, .auto_pull = options->residency.auto_pull, .plan = plan_};
  if (report.mode == Mode::off)
    std::erase_if(report.plan.steps, [](const ResidencyStep& step) { return !step.asked; });
  for (const auto& running : running_) {
    report.under_way.push_back({.step = running->step,
                                .since_s = to_seconds(now - running->since),
                                .pull_total = running->pull->total,
                                .pull_completed = running->pull->completed});
  }
  return report;
}

}  // namespace sollol::gateway
