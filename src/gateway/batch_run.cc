// The library's batch: drives calls over a pool or a gateway, and keeps what comes of them.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "base/random.h"
#include "batch/journal.h"
#include "batch/output.h"
#include "gateway/batch_sight.h"
#include "net/client_socket.h"
#include "net/tcp.h"
#include "sollol/batch.h"

namespace sollol {

using batch::Journal;
using batch::TaskResult;
using gateway::BatchSight;

namespace {

constexpr unsigned attempts_max = 5;  // of a request that fails in a way that may pass
constexpr double retry_first_s = 1;   // before its second attempt; twice as long each time
constexpr double retry_longest_s = 30;
constexpr double give_up_s = 300;  // without any answer from the fleet
constexpr double wake_s = 0.1;
constexpr std::size_t answers_at_once = 256;  // put into the journal together

std::unexpected<Failure> fail(const Error& error) {
  return std::unexpected(Failure{error.detail, error.origin == Origin::node});
}

double backoff_s(unsigned attempt) {
  return std::min(retry_longest_s,
                  retry_first_s * static_cast<double>(1u << std::min(attempt, 8u)));
}

class BatchRun {
 public:
  BatchRun(const BatchOptions& options, const CallStarter& start, const BatchWatch& watch)
      : options_(options), start_(start), watch_(watch), began_(clock_.now()) {}

  std::expected<BatchReport, Failure> run();

 private:
  /// One try of a task.
  struct Attempt {
    batch::Task task;
    batch::Line line;  // without its body
    double sent_s = 0;
    batch::WidthJudge::Ticket ticket;
    std::uint64_t twin = 0;  // the same task, asked elsewhere at the same time; 0: none
    bool is_hedge = false;
    std::string place = {};  // that it was given; both of a pair hold the first one's
  };
  struct Delayed {
    double due_s = 0;
    batch::Task task;
  };

  std::expected<void, Failure> open();
  std::expected<void, Failure> resume();
  std::expected<void, Failure> loop();
  void start_what_may();
  void send(const batch::Task& task, std::uint64_t twin, std::string node);
  void ask_gateway();
  void hedge();
  void take(CallBatch::Done done);
  void learn(const Attempt& attempt, const TaskResult& result);
  void again(const Attempt& attempt, const TaskResult& result, bool fleet_wide);
  void settle(const batch::Task& task, TaskResult result);
  std::expected<void, Failure> keep();
  void watch();
  void stop(std::string why);
  void drop_all();

  double now_s() const { return to_seconds(clock_.now() - began_); }
  const batch::InputLine& line_of(const batch::Task& task) const {
    return input_->lines()[task.line];
  }
  std::string id_of(std::uint64_t tag) const { return fmt::format("batch-{:08x}-{}", run_, tag); }
  bool over() const { return plan_->left() == 0 && delayed_.empty() && attempts_.empty(); }

  static constexpr std::uint64_t question_tags = std::uint64_t{1} << 63;

  const BatchOptions& options_;
  const CallStarter& start_;
  const BatchWatch& watch_;
  net::asio::io_context context_{1};
  net::AsioScheduler clock_{context_};
  TimePoint began_;
  std::uint32_t run_ = static_cast<std::uint32_t>(entropy_seed());

  std::optional<batch::Input> input_;
  std::optional<Journal> journal_;
  std::optional<batch::Output> output_;
  std::optional<batch::Plan> plan_;
  std::optional<BatchSight> sight_;
  std::optional<CallBatch> calls_;
  std::vector<std::uint32_t> missing_;  // parts, for each line
  std::vector<bool> failed_;            // for each line
  std::unordered_map<std::uint64_t, Attempt> attempts_;
  std::vector<std::size_t> in_flight_;  // for each lane, without hedges
  std::vector<Delayed> delayed_;
  std::vector<Journal::Entry> fresh_;  // not in the journal yet
  std::vector<std::uint32_t> fresh_lines_;
  std::map<std::string, BatchShare> shares_;
  std::uint64_t next_tag_ = 1;
  double last_good_s_ = 0;  // when the fleet last answered
  double hold_until_s_ = 0;
  unsigned holds_ = 0;
  double work_done_ = 0;
  std::size_t failed_now_ = 0;
  BatchProgress progress_;
  BatchWish wish_ = BatchWish::go_on;
  std::string stopped_;
};

std::expected<void, Failure> BatchRun::open() {
  if (!batch::is_batch_endpoint(options_.endpoint)) {
    return std::unexpected(Failure{
        fmt::format("endpoint: '{}' is none; write one such as /api/chat or /v1/chat/completions",
                    options_.endpoint)});
  }
  auto input = batch::Input::open(options_.input, options_.endpoint);
  if (!input) return fail(input.error());
  input_ = std::move(*input);
  const std::string kept = options_.output + ".journal";
  std::error_code ignored;
  const auto size = std::filesystem::file_size(options_.output, ignored);
  const bool foreign = !ignored && size > 0 && !std::filesystem::exists(kept, ignored) &&
                       std::filesystem::is_regular_file(options_.output, ignored);
  if (foreign) {
    return std::unexpected(
        Failure{fmt::format("{} is there already and {} is not, so there is nothing to go on with; "
                            "move it away, or name another output",
                            options_.output, kept)});
  }
  auto journal = Journal::open(kept);
  if (!journal) return fail(journal.error());
  journal_.emplace(std::move(*journal));
  const batch::Order order =
      options_.order == BatchOrder::input ? batch::Order::input : batch::Order::finished;
  auto output = batch::Output::open(options_.output, order, input_->lines().size());
  if (!output) return fail(output.error());
  output_.emplace(std::move(*output));
  return {};
}

/// Takes over what earlier runs have done, and plans the rest.
std::expected<void, Failure> BatchRun::resume() {
  const auto& lines = input_->lines();
  std::unordered_map<std::uint64_t, std::uint32_t> by_number;
  std::vector<std::vector<bool>> done(lines.size());
  missing_.resize(lines.size());
  failed_.resize(lines.size());
  for (std::uint32_t i = 0; i < lines.size(); ++i) {
    by_number[lines[i].number] = i;
    missing_[i] = lines[i].parts;
  }
  std::vector<Journal::Key> stale;
  std::vector<std::uint32_t> whole;  // in the order in which they ended
  const auto read = journal_->for_each([&](const Journal::Key& key, int status) {
    const auto at = by_number.find(key.line);
    const bool known = at != by_number.end() && lines[at->second].print == key.print &&
                       key.part < lines[at->second].parts;
    if (!known || (options_.retry_failed && status != 200)) return stale.push_back(key);
    const std::uint32_t line = at->second;
    done[line].resize(lines[line].parts);
    done[line][key.part] = true;
    if (status != 200) failed_[line] = true;
    if (--missing_[line] == 0) whole.push_back(line);
  });
  if (!read) return fail(read.error());
  if (const auto forgotten = journal_->forget(stale); !forgotten) return fail(forgotten.error());
  for (const std::uint32_t line : whole) {
    if (const auto put = output_->finished(line, *input_, *journal_); !put)
      return fail(put.error());
    progress_.failed += failed_[line] ? 1 : 0;
  }
  progress_.lines = lines.size();
  progress_.done = progress_.resumed = whole.size();
  std::vector<batch::Task> tasks;
  for (std::uint32_t i = 0; i < lines.size(); ++i) {
    for (std::uint32_t part = 0; part < lines[i].parts; ++part) {
      if (!done[i].empty() && done[i][part]) continue;
      const batch::Task task{
          .line = i, .part = part, .lane = lines[i].model, .work = lines[i].work};
      if (lines[i].readable) {
        tasks.push_back(task);
      } else {
        const auto parsed = input_->read(lines[i]);
        settle(task, {.body = parsed ? "" : parsed.error().detail});
      }
    }
  }
  const std::size_t lanes = std::max<std::size_t>(1, input_->models().size());
  plan_.emplace(std::move(tasks), lanes);
  in_flight_.resize(lanes);
  return keep();
}

std::expected<BatchReport, Failure> BatchRun::run() {
  if (const auto opened = open(); !opened) return std::unexpected(opened.error());
  if (const auto resumed = resume(); !resumed) return std::unexpected(resumed.error());
  if (plan_->left() > 0) {
    std::vector<std::string> models = input_->models();
    sight_.emplace(std::move(models), options_.concurrency);
    if (!sight_->look(start_, plan_->left(), plan_->largest_lane())) {
      return std::unexpected(
          Failure{"no usable node: none of the gateway's nodes answers; see `sollol nodes`", true});
    }
    calls_.emplace(start_, std::numeric_limits<std::size_t>::max());
    began_ = clock_.now();
    if (const auto ended = loop(); !ended) return std::unexpected(ended.error());
  }
  watch();
  return BatchReport{.progress = progress_, .stopped = stopped_};
}

std::expected<void, Failure> BatchRun::loop() {
  watch();
  while (!over()) {
    start_what_may();
    ask_gateway();
    if (wish_ == BatchWish::abandon) drop_all();
    std::size_t taken = 0;
    for (auto done = calls_->next(wake_s); done; done = calls_->next(0)) {
      take(std::move(*done));
      if (++taken == answers_at_once) break;
    }
    if (taken == 0 && calls_->empty()) net::wait_for_any({}, from_seconds(wake_s));
    if (const auto kept = keep(); !kept) return kept;
    if (!attempts_.empty() || plan_->left() > 0) {
      const double silent = now_s() - last_good_s_;
      if (holds_ > 0 && silent > give_up_s && stopped_.empty())
        stop(fmt::format("no answer for {:.0f} s", silent));
    }
    watch();
  }
  return {};
}

void BatchRun::start_what_may() {
  const double now = now_s();
  for (std::size_t i = 0; i < delayed_.size();) {
    if (wish_ == BatchWish::go_on && delayed_[i].due_s > now) {
      ++i;
      continue;
    }
    plan_->put_back(delayed_[i].task);
    delayed_[i] = delayed_.back();
    delayed_.pop_back();
  }
  if (wish_ != BatchWish::go_on) return plan_->drop();
  if (now < hold_until_s_) return;
  // Room is looked at anew for each: a trial of the width may end or begin with any of them.
  while (const auto task = plan_->next(sight_->room(in_flight_), sight_->lanes()))
    send(*task, 0, sight_->place(task->lane));
}

/// `twin`: what runs already and is asked a second time, 0: nothing; `node`: empty: the gateway
/// chooses.
void BatchRun::send(const batch::Task& task, std::uint64_t twin, std::string node) {
  auto line = input_->read(line_of(task));
  if (!line) return settle(task, {.body = line.error().detail});
  const std::uint64_t tag = next_tag_++;
  CallRequest request{.target = line->target,
                      .body = batch::part_body(*line, task.part),
                      .fields = {{"X-Sollol-Priority", "low"}, {"X-Request-Id", id_of(tag)}}};
  if (!node.empty()) request.fields.emplace_back("X-Sollol-Node", node);
  line->body.clear();
  Attempt attempt{.task = task,
                  .line = *std::move(line),
                  .sent_s = now_s(),
                  .ticket = {},
                  .twin = twin,
                  .is_hedge = twin != 0};
  if (twin == 0) {
    attempt.ticket = sight_->judge().note_sent(attempt.sent_s, task.work, node);
    ++in_flight_[task.lane];
    sight_->note_begun(task.lane, node);
    attempt.place = std::move(node);
  } else {
    attempts_.at(twin).twin = tag;
    attempt.place = attempts_.at(twin).place;
    ++progress_.hedges;
  }
  ++attempt.task.attempts;
  attempts_.emplace(tag, std::move(attempt));
  calls_->add(tag, std::move(request));
}

void BatchRun::ask_gateway() {
  const auto question = sight_->due(now_s(), plan_->left() == 0);
  if (question) {
    calls_->add(question_tags | static_cast<std::uint64_t>(*question),
                BatchSight::request(*question));
  }
}

/// At the end: asks a second time what a free node would end sooner.
void BatchRun::hedge() {
  if (plan_->left() > 0 || !delayed_.empty() || wish_ != BatchWish::go_on) return;
  std::vector<BatchSight::Pending> pending;
  for (const auto& [tag, attempt] : attempts_) {
    pending.push_back({.tag = tag,
                       .lane = attempt.task.lane,
                       .id = id_of(tag),
                       .sent_s = attempt.sent_s,
                       .work = attempt.task.work,
                       .hedged = attempt.twin != 0});
  }
  std::ranges::sort(pending, {}, &BatchSight::Pending::tag);
  const std::size_t most =
      options_.concurrency == 0
          ? pending.size()
          : options_.concurrency - std::min(options_.concurrency, attempts_.size());
  for (const auto& [tag, node] : sight_->hedges(pending, most, now_s())) {
    batch::Task task = attempts_.at(tag).task;
    --task.attempts;  // another try of the same attempt
    send(task, tag, node);
  }
}

void BatchRun::take(CallBatch::Done done) {
  if ((done.tag & question_tags) != 0) {
    const auto question = static_cast<BatchSight::Question>(done.tag & ~question_tags);
    sight_->take(question, done.answer, now_s());
    if (question == BatchSight::Question::nodes) hedge();
    return;
  }
  const auto at = attempts_.find(done.tag);
  if (at == attempts_.end()) return;
  Attempt attempt = std::move(at->second);
  attempts_.erase(at);
  TaskResult result{.took_s = now_s() - attempt.sent_s, .attempts = attempt.task.attempts};
  const bool answered = done.answer.has_value();
  if (answered) {
    result.status = done.answer->status;
    result.node = std::move(done.answer->node);
    result.body = std::move(done.answer->body);
  } else {
    result.body = done.answer.error().text;
  }
  const bool fleet_wide =
      answered ? result.status == 503 || result.status == 429 : done.answer.error().unreachable;
  const bool stands = batch::judge(result.status) == batch::Verdict::final;
  const auto twin = attempt.twin == 0 ? attempts_.end() : attempts_.find(attempt.twin);
  const bool has_twin = twin != attempts_.end();
  if (has_twin && !stands) {  // the other one may do better
    twin->second.twin = 0;
    return;
  }
  if (has_twin) {
    calls_->abandon(attempt.twin);
    attempts_.erase(twin);
  }
  --in_flight_[attempt.task.lane];
  sight_->note_ended(attempt.task.lane, attempt.place);
  if (!stands) sight_->note_failed(attempt.place);
  learn(attempt, result);
  if (stands || !fleet_wide) {
    last_good_s_ = now_s();
    holds_ = 0;
  }
  if (stands) return settle(attempt.task, std::move(result));
  again(attempt, result, fleet_wide);
}

/// What an attempt tells about the nodes.
void BatchRun::learn(const Attempt& attempt, const TaskResult& result) {
  const double now = now_s();
  const batch::Cost cost = batch::cost_of(attempt.line, result, attempt.task.work);
  const double ran_s = cost.service_s > 0 ? cost.service_s : result.took_s;
  if (!attempt.is_hedge) {
    // In a trial nothing waits, so all of its time counts but for a load.
    const double whole_s = now - attempt.sent_s - to_seconds(cost.usage.load);
    const double began = now - std::max(ran_s, whole_s);
    // Without the node's word on it, the first request may have loaded the model.
    const bool counts = result.ok() && (cost.service_s > 0 || shares_.contains(result.node));
    sight_->judge().observe(attempt.ticket, {.node = result.node,
                                             .began_s = began,
                                             .ended_s = now,
                                             .work = cost.work,
                                             .counts = counts});
  }
  if (!result.ok()) return;
  sight_->note_done(attempt.task.lane, result.node, cost.work, ran_s, now);
  BatchShare& share = shares_[result.node];
  ++share.requests;
  share.output_tokens += cost.usage.output_tokens;
  work_done_ += attempt.task.work;
}

/// An attempt failed in a way that may pass.
void BatchRun::again(const Attempt& attempt, const TaskResult& result, bool fleet_wide) {
  batch::Task task = attempt.task;
  const double now = now_s();
  if (fleet_wide && last_good_s_ <= attempt.sent_s) {
    // Nothing succeeds now: that is not this line's fault, and all others wait with it.
    --task.attempts;
    if (now >= hold_until_s_) hold_until_s_ = now + backoff_s(holds_++);
    delayed_.push_back({hold_until_s_, task});
    return;
  }
  if (task.attempts >= attempts_max) return settle(task, result);
  delayed_.push_back({now + backoff_s(task.attempts - 1), task});
}

/// The task has its result.
void BatchRun::settle(const batch::Task& task, TaskResult result) {
  if (!result.ok() && !failed_[task.line]) {
    failed_[task.line] = true;
    ++failed_now_;
  }
  const batch::InputLine& line = line_of(task);
  fresh_.push_back({{line.number, task.part, line.print}, std::move(result)});
  if (--missing_[task.line] == 0) fresh_lines_.push_back(task.line);
}

/// Journal first, then output: what stands in the output is never asked again.
std::expected<void, Failure> BatchRun::keep() {
  if (fresh_.empty()) return {};
  if (const auto kept = journal_->keep(fresh_); !kept) return fail(kept.error());
  fresh_.clear();
  for (const std::uint32_t line : fresh_lines_) {
    if (const auto put = output_->finished(line, *input_, *journal_); !put)
      return fail(put.error());
    ++progress_.done;
    progress_.failed += failed_[line] ? 1 : 0;
  }
  fresh_lines_.clear();
  if (const auto flushed = output_->flush(); !flushed) return fail(flushed.error());
  if (options_.failures_max && failed_now_ > *options_.failures_max && stopped_.empty())
    stop(fmt::format("{} lines failed, more than {}", failed_now_, *options_.failures_max));
  return {};
}

void BatchRun::watch() {
  progress_.in_flight = attempts_.size();
  progress_.elapsed_s = now_s();
  const std::size_t now_done = progress_.done - progress_.resumed;
  if (progress_.elapsed_s > 0)
    progress_.lines_per_s = static_cast<double>(now_done) / progress_.elapsed_s;
  double work_left = plan_ ? plan_->work_left() : 0;
  for (const Delayed& one : delayed_) work_left += one.task.work;
  for (const auto& [tag, attempt] : attempts_)
    work_left += attempt.is_hedge ? 0 : attempt.task.work;
  progress_.left_s = work_done_ > 0 ? work_left * progress_.elapsed_s / work_done_ : -1;
  progress_.width = sight_ ? sight_->reason() : "nothing is left to do";
  progress_.shares.clear();
  for (const auto& [node, share] : shares_) {
    progress_.shares.push_back(share);
    progress_.shares.back().node = node;
  }
  if (!watch_) return;
  const BatchWish wish = watch_(progress_);
  if (wish > wish_) {
    wish_ = wish;
    if (stopped_.empty()) stopped_ = "stopped";
  }
}

void BatchRun::stop(std::string why) {
  stopped_ = std::move(why);
  wish_ = std::max(wish_, BatchWish::finish);
}

void BatchRun::drop_all() {
  for (const auto& [tag, attempt] : attempts_) calls_->abandon(tag);
  attempts_.clear();
  std::ranges::fill(in_flight_, 0);
}

}  // namespace

std::expected<BatchReport, Failure> run_batch(const BatchOptions& options, const CallStarter& start,
                                              const BatchWatch& watch) {
  return BatchRun(options, start, watch).run();
}

}  // namespace sollol
