#include "gateway/resume.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "api/timestamp.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using api::Continuation;
using api::Obstacle;
using api::StreamForm;

namespace {

bool can_continue(StreamForm form) {
  return form == StreamForm::ndjson_answer || form == StreamForm::sse_done ||
         form == StreamForm::sse_anthropic;
}

/// The digest of the model on a node; empty when it is not known there.
std::string_view digest_at(const Work& work, NodeId node) {
  if (work.model == nullptr) return {};
  for (const cluster::Replica& replica : work.model->replicas) {
    if (work.view->cluster->nodes[replica.node].id == node) return replica.digest;
  }
  return {};
}

}  // namespace

Resume::Resume(Connection& client, Answer& answer, StreamForm form)
    : client_(client), answer_(answer), form_(form) {
  const ResumeOptions& options = client.options().resume;
  if (!options.enabled || !client.request().resume) obstacle_ = Obstacle::turned_off;
  if (obstacle_ == Obstacle::none && !can_continue(form)) obstacle_ = Obstacle::api;
}

void Resume::begins(const Work& work, const Slot& slot, TimePoint now) {
  if (!first_sent_) first_sent_ = now;
  before_.total = now - *first_sent_;
  if (answer_.committed() && kept_) splice_.emplace(form_, transcript_, before_);
  if (answer_.committed() || obstacle_ != Obstacle::none) return;
  digest_ = digest_at(work, slot.node().id);
  const auto equals = [this](const cluster::Replica& r) { return r.digest == digest_; };
  kept_ =
      !digest_.empty() && !work.pinned && std::ranges::count_if(work.model->replicas, equals) > 1;
  if (!kept_) return;
  transcript_ =
      api::Transcript(client_.request().route.operation, client_.options().resume.text_max);
}

void Resume::keep(std::string_view body) {
  if (!kept_) return;
  body_kept_ = body.size() <= client_.options().resume.body_max;
  if (body_kept_) {
    body_ = body;
  } else {
    kept_ = false;
    obstacle_ = Obstacle::too_long;
  }
}

void Resume::went_on() {
  if (resumes_ == before_.resumes) return;
  resumes_ = before_.resumes;
  client_.request().outcome.resumed = resumes_;
  client_.worker().metrics().resumed.add();
  answer_.set_trailer(fmt::format("X-Sollol-Resumed: {}\r\n", resumes_));
  spdlog::info("request {}: {}; the stream goes on at {}", client_.request().id, broken_,
               client_.request().outcome.node);
}

std::expected<Continuation, Obstacle> Resume::continuation(const Verdict& verdict) const {
  if (obstacle_ != Obstacle::none) return std::unexpected(obstacle_);
  if (!kept_) return std::unexpected(Obstacle::no_node);
  if (verdict.mid_record || verdict.inside_chunk) return std::unexpected(Obstacle::torn);
  if (verdict.kind == Verdict::Kind::refused && verdict.status < 500 && verdict.status != 404)
    return std::unexpected(Obstacle::client_fault);
  return api::continuation_of(body_, transcript_);
}

Resume::Next Resume::next(const Verdict& verdict, const Slot& slot, Work& work,
                          Attempt::Plan& plan) {
  Worker& worker = client_.worker();
  broken_ = fmt::format("{} broke off its stream ({})", slot.node().info.name,
                        !verdict.error    ? std::string_view("refused to go on")
                        : verdict.said_so ? client_.for_log(verdict.error->detail)
                                          : std::string_view(verdict.error->detail));
  if (client_.client_gone() || client_.ended()) return Next::declined;
  auto next = continuation(verdict);
  if (!next) return decline(next.error());
  before_.eval += verdict.streamed;
  before_.resumes = resumes_ + 1;
  given_ = transcript_.tokens();
  if (next->step == Continuation::Step::close) {
    before_.total = worker.scheduler().now() - *first_sent_;
    finish();
    return Next::finished;
  }
  const bool allowed = client_.request().outcome.attempts <= client_.options().retry.attempts_max &&
                       worker.shared().retries.try_retry();
  if (!allowed) return decline(Obstacle::retry_limits);
  next_body_ = std::move(next->body);
  plan.body = next_body_;
  work.digest = digest_;
  work.excluded.push_back(slot.node().id);
  worker.metrics().retries.add();
  return Next::attempt;
}

void Resume::no_place() { decline(Obstacle::no_node); }

Resume::Next Resume::decline(Obstacle obstacle) {
  client_.worker().metrics().resume_declined[static_cast<std::size_t>(obstacle)].add();
  spdlog::warn("request {}: {}; not resumed: {}", client_.request().id, broken_,
               api::obstacle_text(obstacle));
  return Next::declined;
}

/// Ends the stream in the name of the node that could not.
void Resume::finish() {
  splice_.emplace(form_, transcript_, before_);
  const std::string records =
      splice_->closing_records(api::format_timestamp(client_.worker().scheduler().wall_now()));
  went_on();
  answer_.write(records, Answer::End::last);
}

void Resume::account() {
  if (before_.resumes == 0) return;
  Outcome& outcome = client_.request().outcome;
  outcome.output_tokens += given_;
  outcome.prompt_tokens -= std::min(outcome.prompt_tokens, given_);
  outcome.decode += before_.eval;
}

}  // namespace sollol::gateway
