#include "gateway/batch_sight.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/client_socket.h"
#include "net/tcp.h"

namespace sollol::gateway {

namespace {

constexpr double look_s = 1;  // between two looks at the nodes
constexpr double look_at_the_end_s = 0.1;
constexpr double advice_s = 10;  // between two questions for advice
constexpr double answer_limit_s = 10;
constexpr double known_within_s = 5;  // nodes that were just named
/// Requests of a model that wait at the gateway, and one for each node at least, so that no node
/// waits for the next. A gateway that sees few of them lets each wait for a fast node; so many show
/// it that slow ones are needed too. As many as it looks at (WaitQueue::looked_at_max).
constexpr std::size_t waiting_min = 16;
constexpr double new_pace_share = 0.3;  // of a measurement in what is smoothed

/// A whole answer, or nothing within the limit.
std::optional<CallAnswer> ask(const CallStarter& start, CallRequest request) {
  CallBatch one(start, 1);
  one.add(0, std::move(request));
  net::asio::io_context context(1);
  const net::AsioScheduler clock(context);
  const TimePoint limit = clock.now() + from_seconds(answer_limit_s);
  while (clock.now() < limit) {
    auto done = one.next(answer_limit_s);
    if (!done) continue;
    if (!done->answer || done->answer->status != 200) return std::nullopt;
    return std::move(*done->answer);
  }
  return std::nullopt;
}

}  // namespace

BatchSight::BatchSight(std::vector<std::string> models, std::size_t concurrency)
    : models_(std::move(models)),
      concurrency_(concurrency),
      paces_(models_.size()),
      begun_(models_.size()) {}

CallRequest BatchSight::request(Question question) {
  switch (question) {
    case Question::nodes:
      return {.method = "GET", .target = "/sollol/v1/nodes"};
    case Question::decisions:
      return {.method = "GET", .target = "/sollol/v1/decisions"};
    case Question::locality:
      return {.method = "GET", .target = "/sollol/v1/locality"};
  }
  return {};
}

bool BatchSight::look(const CallStarter& start, std::size_t tasks, std::size_t main_lane) {
  tasks_ = tasks;
  main_lane_ = main_lane;
  net::asio::io_context context(1);
  const net::AsioScheduler clock(context);
  const TimePoint limit = clock.now() + from_seconds(known_within_s);
  while (true) {
    const auto answer = ask(start, request(Question::nodes));
    auto fleet = answer ? batch::parse_fleet(answer->body) : Result<batch::Fleet>();
    seen_ = answer.has_value() && fleet.has_value();
    if (!seen_) {  // it may not be ours to know
      judge_.emplace(batch::WidthFacts{.parallel = true, .slots = unknown_width, .tasks = tasks});
      return true;
    }
    fleet_ = std::move(*fleet);
    if (fleet_.known() || clock.now() >= limit) break;
    net::wait_for_any({}, from_seconds(look_at_the_end_s));
  }
  CallRequest locality = request(Question::locality);
  locality.target += fmt::format("?tasks={}", tasks);
  if (const auto answer = ask(start, std::move(locality))) {
    if (auto advice = batch::parse_advice(answer->body)) advice_ = std::move(*advice);
  }
  judge_.emplace(facts(advice_));
  return std::ranges::any_of(fleet_.nodes, &batch::FleetNode::usable);
}

void BatchSight::note_failed(const std::string& place) {
  const auto node = std::ranges::find(fleet_.nodes, place, &batch::FleetNode::name);
  if (node != fleet_.nodes.end()) node->usable = false;
}

std::optional<BatchSight::Question> BatchSight::due(double now_s, bool at_the_end) {
  if (!seen_ || asking_) return std::nullopt;
  std::optional<Question> question;
  const bool hedging = at_the_end && judge_->width() == batch::Width::wide;
  if (now_s - nodes_s_ >= (hedging ? look_at_the_end_s : look_s)) {
    question = hedging && decisions_s_ <= nodes_s_ ? Question::decisions : Question::nodes;
  } else if (now_s - locality_s_ >= advice_s) {
    question = Question::locality;
  }
  asking_ = question.has_value();
  return question;
}

void BatchSight::take(Question question, const std::expected<CallAnswer, Failure>& answer,
                      double now_s) {
  asking_ = false;
  const bool good = answer && answer->status == 200;
  switch (question) {
    case Question::nodes:
      nodes_s_ = now_s;
      if (auto fleet = batch::parse_fleet(good ? answer->body : ""); fleet) {
        fleet_ = std::move(*fleet);
        fresh_ = true;
        judge_->advise(facts(advice_));
      }
      break;
    case Question::decisions:
      decisions_s_ = now_s;
      if (auto nodes = batch::parse_decisions(good ? answer->body : "")) {
        for (auto& [id, node] : *nodes) decisions_.insert_or_assign(id, std::move(node));
      }
      break;
    case Question::locality:
      locality_s_ = now_s;
      if (auto advice = batch::parse_advice(good ? answer->body : "")) {
        advice_ = std::move(*advice);
        judge_->advise(facts(advice_));
      }
      break;
  }
}

batch::WidthFacts BatchSight::facts(batch::Advice advice) const {
  batch::WidthFacts facts{.parallel = advice.parallel,
                          .reason = std::move(advice.reason),
                          .slots = slots(main_lane_),
                          .tasks = tasks_};
  for (const batch::FleetNode& node : fleet_.nodes) {
    const batch::FleetModel* model = node.usable ? node.find(models_[main_lane_]) : nullptr;
    if (model != nullptr) facts.nodes.push_back({node.name, model->limit});
  }
  return facts;
}

/// Of a model that nobody is known to have, one request finds out.
std::size_t BatchSight::slots(std::size_t lane) const {
  return std::max<std::size_t>(1, fleet_.slots(models_[lane]));
}

/// How many more than it has slots for wait at the gateway.
std::size_t BatchSight::waiting(std::size_t lane) const {
  return std::max(waiting_min, fleet_.owners(models_[lane]));
}

/// Whether a batch that keeps only some nodes busy keeps this one.
bool BatchSight::serves(const batch::FleetNode& node) const {
  const auto kept = judge_->nodes();
  return kept.empty() || std::ranges::find(kept, node.name) != kept.end();
}

/// At the nodes that are kept busy, or at all others when the lane's model is at none of these.
std::vector<batch::NodeSlots> BatchSight::free_slots(std::size_t lane) const {
  std::vector<batch::NodeSlots> kept, others;
  // A single node may yet turn out to have more slots, once another request waits.
  const std::size_t more = judge_->settled() && fleet_.owners(models_[lane]) == 1 ? 1 : 0;
  for (const batch::FleetNode& node : fleet_.nodes) {
    const batch::FleetModel* model = node.usable ? node.find(models_[lane]) : nullptr;
    if (model == nullptr) continue;
    const auto begun = begun_[lane].find(node.name);
    const std::size_t taken = begun == begun_[lane].end() ? 0 : begun->second;
    const std::size_t width = std::min<std::size_t>(model->limit, judge_->slots_max()) + more;
    (serves(node) ? kept : others).push_back({node.name, width - std::min(width, taken)});
  }
  return kept.empty() ? others : kept;
}

std::string BatchSight::place(std::size_t lane) const {
  if (concurrency_ > 0 || !seen_ || judge_->nodes().empty()) return {};
  const auto pace = [&](const batch::NodeSlots& at) {
    const auto known = paces_[lane].find(at.node);
    return known == paces_[lane].end() ? 0 : known->second.work_per_s;
  };
  std::vector<batch::NodeSlots> free = free_slots(lane);
  std::erase_if(free, [](const batch::NodeSlots& at) { return at.slots == 0; });
  return free.empty() ? std::string() : std::ranges::max(free, {}, pace).node;
}

void BatchSight::note_begun(std::size_t lane, const std::string& place) {
  if (!place.empty()) ++begun_[lane][place];
}

void BatchSight::note_ended(std::size_t lane, const std::string& place) {
  if (!place.empty()) --begun_[lane][place];
}

batch::Plan::Lanes BatchSight::lanes() const {
  if (concurrency_ == 1) return batch::Plan::Lanes::in_turn;
  if (!seen_ || concurrency_ > 0) return batch::Plan::Lanes::all;
  if (!judge_->settled()) return batch::Plan::Lanes::trial;
  return judge_->width() == batch::Width::alone ? batch::Plan::Lanes::in_turn
                                                : batch::Plan::Lanes::all;
}

std::vector<std::size_t> BatchSight::room(const std::vector<std::size_t>& in_flight) const {
  std::size_t all = 0;
  for (const std::size_t count : in_flight) all += count;
  std::vector<std::size_t> room(in_flight.size(), 0);
  const auto give = [&](std::size_t width) {
    if (all < width) std::ranges::fill(room, width - all);
  };
  if (concurrency_ > 0) {
    give(concurrency_);
  } else if (!seen_) {
    give(unknown_width);
  } else if (judge_->width() == batch::Width::alone) {
    give(1);
  } else if (judge_->nodes().empty()) {
    for (std::size_t lane = 0; lane < room.size(); ++lane) {
      const std::size_t width = slots(lane) + waiting(lane);
      room[lane] = width - std::min(width, in_flight[lane]);
    }
  } else {
    for (std::size_t lane = 0; lane < room.size(); ++lane) {
      const std::vector<batch::NodeSlots> free = free_slots(lane);
      for (const batch::NodeSlots& at : free) room[lane] += at.slots;
      if (free.empty() && in_flight[lane] == 0) room[lane] = 1;  // finds out whether anybody has it
    }
  }
  return room;
}

std::string BatchSight::reason() const {
  if (concurrency_ > 0) return fmt::format("{} at once, as asked for", concurrency_);
  if (!seen_) {
    return fmt::format(
        "{} at once: the gateway does not tell its nodes (that takes a key with admin rights) and "
        "holds back what they have no slot for",
        unknown_width);
  }
  return judge_->reason();
}

void BatchSight::note_done(std::size_t lane, const std::string& node, double work, double seconds,
                           double now_s) {
  Pace& pace = paces_[lane][node];
  pace.last_end_s = now_s;
  if (work <= 0 || seconds <= 0) return;
  const double seen = work / seconds;
  pace.work_per_s =
      pace.work_per_s == 0 ? seen : pace.work_per_s + (seen - pace.work_per_s) * new_pace_share;
}

std::vector<batch::Place> BatchSight::places_of(std::size_t lane) const {
  std::vector<batch::Place> places;
  for (const batch::FleetNode& node : fleet_.nodes) {
    batch::Place& place = places.emplace_back();
    const batch::FleetModel* model = node.find(models_[lane]);
    if (model == nullptr) continue;
    place.work_per_s = model->tokens_per_s;
    if (const auto pace = paces_[lane].find(node.name);
        pace != paces_[lane].end() && pace->second.work_per_s > 0)
      place.work_per_s = pace->second.work_per_s;
    // A model that would have to be loaded first does not end anything sooner.
    if (node.usable && serves(node) && model->loaded && model->limit > model->in_flight)
      place.free = model->limit - model->in_flight;
  }
  return places;
}

std::vector<BatchSight::HedgeAt> BatchSight::hedges(const std::vector<Pending>& pending,
                                                    std::size_t most, double now_s) {
  std::vector<HedgeAt> chosen;
  if (!seen_ || !fresh_ || lanes() != batch::Plan::Lanes::all) return chosen;
  fresh_ = false;
  for (std::size_t lane = 0; lane < models_.size(); ++lane) {
    std::vector<batch::Place> places = places_of(lane);
    std::vector<batch::Running> running;
    std::vector<std::uint64_t> tags;
    for (const Pending& one : pending) {
      if (one.lane != lane) continue;
      tags.push_back(one.tag);
      batch::Running& at = running.emplace_back();
      at = {.place = batch::Running::npos,
            .since_s = one.sent_s,
            .work = one.work,
            .hedged = one.hedged};
      const auto decided = decisions_.find(one.id);
      if (decided == decisions_.end()) continue;
      const auto node = std::ranges::find(fleet_.nodes, decided->second, &batch::FleetNode::name);
      if (node == fleet_.nodes.end()) continue;
      at.place = static_cast<std::size_t>(node - fleet_.nodes.begin());
      const batch::FleetModel* model = node->find(models_[lane]);
      const auto pace = paces_[lane].find(node->name);
      // It waited until the one before it had ended there.
      if (model != nullptr && model->limit == 1 && pace != paces_[lane].end())
        at.since_s = std::max(at.since_s, pace->second.last_end_s);
    }
    while (chosen.size() < most) {
      const auto hedge = batch::choose_hedge(running, places, now_s);
      if (!hedge) break;
      chosen.push_back({tags[hedge->running], fleet_.nodes[hedge->place].name});
      running[hedge->running].hedged = true;
      --places[hedge->place].free;
    }
  }
  return chosen;
}

}  // namespace sollol::gateway
