// The part of the control thread that measures, on request, which nodes slow each other.
#include "gateway/control_measure.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "api/intent.h"
#include "api/model_name.h"
#include "api/timestamp.h"
#include "gateway/spawn.h"

namespace sollol::gateway {

namespace json = boost::json;
using locality::Pair;
using locality::Relation;

namespace {

constexpr std::string_view prompt = "Write a very long story about the sea, and do not end it.";
constexpr Duration poll_interval = 2ms;
constexpr Duration stays_loaded_min = 5s;  // a model that is unloaded sooner is not used
constexpr Duration unasked_load_min = 1s;  // of load_duration: more than the node's scheduler takes
constexpr unsigned failures_max = 2;       // in a row, then a node is left out
constexpr unsigned missed_max = 6;         // probes of a pair that did not overlap
constexpr double overlap_min = 0.9;        // of a decode that counts as beside another
constexpr std::size_t reply_max = 1 << 20;
constexpr std::uint64_t tokens_counted_min = 4;  // fewer tell no rate

std::string body_of(const std::string& model, std::uint32_t num_ctx, std::uint32_t tokens) {
  json::object options{{"num_predict", tokens}};
  if (num_ctx > 0) options["num_ctx"] = num_ctx;
  return json::serialize(json::object{
      {"model", model}, {"prompt", prompt}, {"stream", false}, {"options", std::move(options)}});
}

double number_of(const json::object& fields, std::string_view key) {
  const auto* value = fields.if_contains(key);
  boost::system::error_code bad;
  const double number = value == nullptr || !value->is_number() ? 0 : value->to_number<double>(bad);
  return bad ? 0 : number;
}

Duration nanoseconds_of(const json::object& fields, std::string_view key) {
  constexpr double most = 86400e9;
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(std::clamp(number_of(fields, key), 0.0, most)));
}

double seconds_between(TimePoint from, TimePoint to) {
  return std::max(0.0, to_seconds(to - from));
}

}  // namespace

net::Task<Result<void>> Control::start_measuring(MeasureWish wish) {
  if (measuring_now())
    co_return std::unexpected(
        Error{ErrorKind::overloaded, Origin::gateway, Retry::later, "a measurement is under way"});
  if (!wish.model.empty() && !api::ModelKey::from(wish.model))
    co_return std::unexpected(bad_input(fmt::format("model: '{}' is no name", wish.model)));
  auto run = std::make_shared<Measurement>();
  const LocalityOptions& limits = options_->locality;
  run->wish = std::move(wish);
  run->budget.requests_max =
      std::min(limits.requests_max, run->wish.requests_max.value_or(limits.requests_max));
  run->tokens_max = std::min(limits.tokens_max, run->wish.tokens_max.value_or(limits.tokens_max));
  run->deadline =
      scheduler_.now() + std::min(limits.time_max, run->wish.time_max.value_or(limits.time_max));
  run->report.requests_max = run->budget.requests_max;
  if (const std::string busy = reason_to_stop(*run); !busy.empty()) {
    co_return std::unexpected(Error{ErrorKind::overloaded, Origin::gateway, Retry::later,
                                    busy + "; measuring waits for a fleet at rest"});
  }
  run->report.began = run->report.running = true;
  measurement_ = run;
  spawn(context_, "measuring", measure(run));
  co_return Result<void>{};
}

net::Task<MeasureReport> Control::measuring(std::size_t probes_seen) {
  if (!measurement_) co_return MeasureReport{};
  MeasureReport report = measurement_->report;
  const auto seen = std::min(probes_seen, report.probes.size());
  report.probes_total = report.probes.size();
  report.probes.erase(report.probes.begin(),
                      report.probes.begin() + static_cast<std::ptrdiff_t>(seen));
  co_return report;
}

net::Task<void> Control::stop_measuring(std::string why) {
  if (measuring_now()) measurement_->stop = std::move(why);
  co_return;
}

bool Control::measuring_now() const { return measurement_ && measurement_->report.running; }

/// What forbids to go on; empty: nothing.
std::string Control::reason_to_stop(const Measurement& run) const {
  if (!run.stop.empty()) return run.stop;
  std::uint32_t in_flight = 0;
  for (const NodeId node : cluster_.nodes()) in_flight += cluster_.in_flight(node);
  const std::uint32_t queued = queued_ ? queued_() : 0;
  if (in_flight + queued > 0)
    return fmt::format("{} requests are at the nodes and {} wait", in_flight, queued);
  if (scheduler_.now() >= run.deadline) return "its time is over";
  return {};
}

net::Task<void> Control::measure(std::shared_ptr<Measurement> run) {
  std::vector<NodeId> all;
  for (const auto& [id, probe] : probes_) all.push_back(id);
  auto refreshing = refresh_nodes(std::move(all), options_->probe.ps_timeout);
  co_await std::move(refreshing);  // what is loaded is what counts
  run->suspects = locality::suspects(locality::group(facts(), {}), run->budget);
  choose_targets(*run);
  auto measuring = measure_pairs(run);
  co_await std::move(measuring);
  conclude(*run);
  run->report.running = false;
  spdlog::info("measured {} pairs of nodes with {} requests, {} tokens{}{}",
               run->report.pairs.size(), run->report.requests, run->report.tokens,
               run->report.ended.empty() ? "" : "; ended early: ", run->report.ended);
}

net::Task<void> Control::measure_pairs(std::shared_ptr<Measurement> run) {
  while (true) {
    const auto next =
        locality::next_probe(run->pairs, run->measurements, run->report.requests, run->budget);
    if (!next) {
      const bool more =
          locality::next_probe(run->pairs, run->measurements, 0,
                               {.requests_max = std::numeric_limits<std::size_t>::max()})
              .has_value();
      if (more) run->report.ended = "its requests are used up";
      co_return;
    }
    run->report.ended = reason_to_stop(*run);
    if (!run->report.ended.empty()) co_return;
    auto probing = run_probe(run, *next);
    co_await std::move(probing);
  }
}

// ---- whom, and with which model

void Control::choose_targets(Measurement& run) {
  for (const auto& [a, b] : run.suspects) {
    for (const std::string& name : {a, b}) {
      if (run.targets.contains(name)) continue;
      MeasureTarget target;
      for (const auto& [id, probe] : probes_) {
        if (probe->info.name == name) target.probe = probe;
      }
      const bool usable = target.probe && !target.probe->leaving &&
                          cluster_.admin(target.probe->id) == cluster::Admin::enabled &&
                          cluster_.health(target.probe->id)->availability(scheduler_.now()) ==
                              cluster::Availability::healthy;
      if (!usable) {
        target.problem = "is not healthy, or drained";
      } else if (const Result<void> chosen = choose_model(target, run.wish); !chosen) {
        target.problem = chosen.error().detail;
      }
      run.targets.emplace(name, std::move(target));
    }
  }
  for (const Pair& pair : run.suspects) {
    const bool both =
        run.targets[pair.first].problem.empty() && run.targets[pair.second].problem.empty();
    if (both) run.pairs.push_back(pair);
  }
}

/// The smallest of the loaded models that generate text, since every loaded one is as good. With
/// `load`, where none is, the smallest that the node has.
Result<void> Control::choose_model(MeasureTarget& target, const MeasureWish& wish) {
  const NodeListing& listing = *target.probe->listing;
  const std::string wanted =
      wish.model.empty() ? "" : std::string(api::ModelKey::from(wish.model)->view());
  const auto generates = [&](const std::string& key) {
    const auto entry = std::ranges::find(listing.models, key, &api::ModelEntry::key);
    if (entry == listing.models.end() || entry->remote || entry->embedding_only) return false;
    return wanted.empty() || key == wanted;
  };
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  bool other_options = false;
  for (const api::LoadedModel& model : listing.loaded) {
    if (!generates(model.key) || model.size_bytes >= least) continue;
    const auto expires = api::parse_timestamp(model.expires_at);
    const auto now = scheduler_.wall_now().time_since_epoch();
    if (expires && std::chrono::nanoseconds(*expires) - now < stays_loaded_min) continue;
    if (!loaded_as_told(*target.probe, model)) {
      other_options = true;
      continue;
    }
    least = model.size_bytes;
    target.model = model.name;
    target.num_ctx = model.context_length;
  }
  if (!target.model.empty()) return {};
  if (wish.cold == MeasureWish::Cold::load && !other_options) {
    for (const api::ModelEntry& model : listing.models) {
      if (!generates(model.key) || model.size_bytes >= least) continue;
      least = model.size_bytes;
      target.model = model.name;
      target.cold = true;
    }
    if (!target.model.empty()) return {};
  }
  return std::unexpected(bad_input(other_options
                                       ? "its model is loaded with options that are not known here"
                                   : wish.cold == MeasureWish::Cold::load
                                       ? "has no such model that generates text"
                                       : "has no such model loaded (--load loads the smallest)"));
}

/// Whether a request with the context length that the node tells finds the model loaded as it
/// needs it: other options than that one would have it loaded anew.
bool Control::loaded_as_told(const Probe& probe, const api::LoadedModel& model) {
  const auto snapshot = cluster_.snapshot();
  const cluster::Model* known = snapshot->find_model(model.key);
  if (known == nullptr) return true;
  for (const cluster::Replica& replica : known->replicas) {
    if (snapshot->nodes[replica.node].id != probe.id) continue;
    const std::uint64_t last = replica.live->runner_key.load(std::memory_order_relaxed);
    if (last == 0) return true;
    std::string body = body_of(model.name, model.context_length, 1);
    body.reserve(body.size() + api::json_padding);
    const auto intent = api::IntentScanner().scan(body, api::Operation::generate);
    return intent && intent->runner_key == last;
  }
  return true;
}

// ---- one probe

/// How many tokens a node should write so that it works about so long.
std::shared_ptr<Control::Ask> Control::Measurement::make_ask(const std::string& node,
                                                             Duration work) {
  auto ask = std::make_shared<Ask>();
  ask->target = &targets.at(node);
  const std::uint32_t cap = ask->target->tokens_cap;
  ask->tokens = std::min(measurements.tokens_for(node, work), tokens_max);
  if (cap > 0) ask->tokens = std::min(ask->tokens, cap);
  return ask;
}

net::Task<void> Control::run_probe(std::shared_ptr<Measurement> run, locality::Probe what) {
  Duration work = options_->locality.work;
  const bool beside = what.kind == locality::Probe::Kind::beside;
  if (beside) {
    work += work * run->missed[{what.a, what.b}] / 2;
    // Both must be able to work so long.
    for (const std::string& node : {what.a, what.b}) {
      const std::uint32_t cap = run->targets.at(node).tokens_cap;
      const std::uint32_t most = cap == 0 ? run->tokens_max : std::min(cap, run->tokens_max);
      const double in_a_second = run->measurements.tokens_for(node, 1s);
      work = std::min(work, from_seconds(most / in_a_second));
    }
  }
  const auto a = run->make_ask(what.a, work);
  const auto b = beside ? run->make_ask(what.b, work) : nullptr;
  run->report.requests += what.requests();
  spawn(context_, "measuring request", ask(a));
  if (b) spawn(context_, "measuring request", ask(b));
  while (!a->done || (b && !b->done)) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + poll_interval);
    co_await std::move(pause);
    if (a->cancelled || reason_to_stop(*run).empty()) continue;
    for (const auto& each : {a, b}) {
      if (!each) continue;
      each->cancelled = true;
      if (each->stream != nullptr) each->stream->cancel();
    }
  }
  if (!a->cancelled) run->take_result(what, *a, b.get());
}

net::Task<Result<net::HttpReply>> Control::generate(std::shared_ptr<Ask> ask, TimePoint deadline) {
  const auto probe = ask->target->probe;
  auto connecting = nodes_.connect(probe->info, probe->addresses, deadline);
  auto stream = co_await std::move(connecting);
  if (!stream) co_return std::unexpected(stream.error());
  if (ask->cancelled)
    co_return std::unexpected(Error{ErrorKind::cancelled, Origin::client, Retry::never, "stopped"});
  ask->stream = stream->get();
  net::SimpleRequest request{.method = "POST",
                             .target = probe->info.path_prefix + "/api/generate",
                             .host_field = probe->host_field,
                             .extra_fields = "Connection: close\r\n",
                             .body = body_of(ask->target->model, ask->target->num_ctx, ask->tokens),
                             .reply_max = reply_max};
  auto calling = net::call_once(**stream, scratch_, std::move(request), deadline);
  auto answer = co_await std::move(calling);
  ask->stream = nullptr;
  if (!answer) co_return std::unexpected(answer.error());
  co_return std::move(answer->reply);
}

net::Task<void> Control::ask(std::shared_ptr<Ask> ask) {
  const TimePoint sent = scheduler_.now();
  const bool may_load = std::exchange(ask->target->cold, false);
  const Duration limit = may_load ? options_->load.timeout : options_->locality.request_timeout;
  auto generating = generate(ask, sent + limit);
  const Result<net::HttpReply> reply = co_await std::move(generating);
  ask->decode_ended = scheduler_.now();
  ask->done = true;
  if (!reply) {
    ask->problem = reply.error().detail;
    co_return;
  }
  boost::system::error_code bad;
  const json::value parsed = json::parse(reply->body, bad);
  if (reply->status != 200 || bad || !parsed.is_object()) {
    ask->problem = fmt::format("answered {} and no generated text", reply->status);
    co_return;
  }
  const json::object& fields = parsed.as_object();
  const Duration eval = nanoseconds_of(fields, "eval_duration");
  const double tokens = number_of(fields, "eval_count");
  if (!(tokens >= double{tokens_counted_min}) || tokens > 1e9 || eval.count() <= 0) {
    ask->problem = "told no time for its tokens, or wrote too few";
    co_return;
  }
  if (!may_load && nanoseconds_of(fields, "load_duration") > unasked_load_min) {
    ask->target->problem = "had to load its model, which was not asked for";
    ask->problem = ask->target->problem;
    co_return;
  }
  ask->tokens_written = static_cast<std::uint64_t>(tokens);
  if (ask->tokens_written < ask->tokens)
    ask->target->tokens_cap = static_cast<std::uint32_t>(ask->tokens_written);
  ask->decode_began = std::max(sent, ask->decode_ended - eval);
  ask->rate = may_load ? 0 : tokens / to_seconds(eval);  // the first after a load is no measure
}

/// Takes up the rates that count: of two that should have worked beside each other, those of which
/// nearly all did.
void Control::Measurement::take_result(const locality::Probe& what, Ask& a, Ask* b) {
  for (Ask* each : {&a, b}) {
    if (each == nullptr) continue;
    report.tokens += each->tokens_written;
    each->target->failures = each->problem.empty() ? 0 : each->target->failures + 1;
  }
  MeasuredProbe line{.a = what.a, .b = what.b, .requests_so_far = report.requests};
  if (!a.problem.empty()) line.problem = what.a + " " + a.problem;
  if (b != nullptr && !b->problem.empty()) line.problem = what.b + " " + b->problem;
  if (b == nullptr && line.problem.empty()) {
    line.a_rate = a.rate;
    measurements.note_alone(what.a, a.rate);
  } else if (line.problem.empty()) {
    const double both = seconds_between(std::max(a.decode_began, b->decode_began),
                                        std::min(a.decode_ended, b->decode_ended));
    const auto counts = [&](const Ask& each) {
      return both >= overlap_min * seconds_between(each.decode_began, each.decode_ended);
    };
    if (counts(a)) measurements.note_beside(what.a, what.b, line.a_rate = a.rate);
    if (counts(*b)) measurements.note_beside(what.b, what.a, line.b_rate = b->rate);
    if (!counts(a) || !counts(*b)) {
      line.problem = "they did not work at the same time for long enough";
      const Pair pair{what.a, what.b};
      if (++missed[pair] >= missed_max) {
        given_up[pair] = line.problem;
        std::erase(pairs, pair);
      }
    }
  }
  for (Ask* each : {&a, b}) {
    if (each == nullptr) continue;
    const MeasureTarget& target = *each->target;
    const bool gone = target.probe->gone || target.probe->leaving;
    if (gone || target.failures >= failures_max || !target.problem.empty())
      leave_out(each == &a ? what.a : what.b, gone ? "was removed" : each->problem);
  }
  report.probes.push_back(std::move(line));
}

void Control::Measurement::leave_out(const std::string& node, std::string why) {
  targets.at(node).problem = std::move(why);
  std::erase_if(pairs, [&](const Pair& pair) { return pair.first == node || pair.second == node; });
}

// ---- what it tells

void Control::conclude(Measurement& run) {
  double least_sure = 1;  // of what others follow from
  for (const auto& each : locality::findings(run.suspects, run.measurements))
    least_sure = std::min(least_sure, each.confidence);
  for (const Pair& pair : run.suspects) {
    const auto& [a, b] = pair;
    const locality::Verdict verdict = run.measurements.verdict(pair);
    MeasuredPair told{.a = a,
                      .b = b,
                      .relation = verdict.relation,
                      .confidence = verdict.confidence,
                      .slowdown = verdict.slowdown,
                      .samples = std::min(run.measurements.beside(a, b).size(),
                                          run.measurements.beside(b, a).size())};
    const MeasureTarget& target_a = run.targets.at(a);
    const MeasureTarget& target_b = run.targets.at(b);
    if (!target_a.problem.empty()) told.problem = a + " " + target_a.problem;
    if (!target_b.problem.empty()) told.problem = b + " " + target_b.problem;
    if (const auto why = run.given_up.find(pair); why != run.given_up.end())
      told.problem = why->second;
    if (told.relation == Relation::unknown) {
      told.relation = locality::implied(run.suspects, run.measurements, pair);
      told.follows = told.relation != Relation::unknown;
    } else {
      told.problem.clear();
    }
    if (told.follows) {
      told.problem.clear();
      told.confidence = least_sure;
      told.slowdown = 0;
    }
    const bool there = target_a.probe && target_b.probe;
    if (there && told.relation != Relation::unknown) {
      findings_.note({.a = sign_of(*target_a.probe),
                      .b = sign_of(*target_b.probe),
                      .relation = told.relation,
                      .confidence = told.confidence,
                      .slowdown = told.slowdown,
                      .source = MeasuredBy::request,
                      .when = scheduler_.wall_now()});
    } else if (there && told.samples > 0 && verdict.more_samples == 0) {
      // Measured to the end, and nothing can be said: what was said before is not true any more.
      findings_.forget(target_a.probe->info.url, target_b.probe->info.url);
    }
    run.report.pairs.push_back(std::move(told));
  }
}

}  // namespace sollol::gateway
