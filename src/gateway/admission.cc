#include "gateway/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "cluster/learn.h"
#include "gateway/worker.h"
#include "routing/wake.h"

namespace sollol::gateway {

namespace asio = net::asio;

namespace {

/// Who waits for a better place than a free one looks again so often whether it is still better.
constexpr Duration look_again_every = 250ms;

}  // namespace

/// A request in the queue; lives in its coroutine. While it is queued, `work` and what is set at
/// its end are guarded by the lock.
struct Admission::Waiter {
  Work& work;
  Worker& worker;
  TimePoint began;
  bool holds_out = false;  // there is a place, and it waits for a better one
  std::optional<Result<Slot>> result;
  std::move_only_function<void()> resume;
};

Admission::Admission(const Options& options, ViewSource& views, const net::Scheduler& clock)
    : views_(views),
      clock_(clock),
      placement_(options.policy, *this),
      queue_({.waiting_max = options.queue.waiting_max,
              .waiting_per_client_max = options.queue.waiting_per_client_max}),
      random_(entropy_seed()) {}

void Admission::configure(const Options& options) {
  placement_.set_policy(options.policy);
  const std::scoped_lock lock(mutex_);
  queue_.set_limits({.waiting_max = options.queue.waiting_max,
                     .waiting_per_client_max = options.queue.waiting_per_client_max});
}

void Admission::give_up_all(const Error& why) {
  const std::scoped_lock lock(mutex_);
  std::vector<cluster::Ticket> tickets;
  for (const auto& [ticket, waiter] : waiters_) tickets.push_back(ticket);
  for (const cluster::Ticket ticket : tickets) {
    if (queue_.cancel(ticket)) wake(ticket, std::unexpected(why));
  }
}

std::optional<Result<Slot>> Admission::place_now(Connection& client, Work& work) {
  if (client.ended()) return std::unexpected(*client.ended());
  work.awaited.reset();
  // Whoever waits for a model goes first; requests for any node need no place of a model.
  if (work.model != nullptr && waiting() > 0) return std::nullopt;
  Worker& worker = client.worker();
  Placement::Awaited nobody;
  std::optional<Result<Slot>> placed(
      std::in_place, placement_.place(work, worker.candidates(), nobody, worker.scheduler().now(),
                                      worker.random().bits()));
  const bool full = !*placed && placed->error().kind == ErrorKind::overloaded;
  if (full && work.model != nullptr) placed.reset();
  return placed;
}

net::Task<Result<Slot>> Admission::wait_for_place(Connection& client, Work& work) {
  Worker& worker = client.worker();
  const TimePoint began = worker.scheduler().now();
  const TimePoint deadline = began + client.options().queue.wait_max;
  Waiter waiter{.work = work, .worker = worker, .began = began, .result = {}, .resume = {}};
  // Others renew `work` while it is queued.
  const std::string model = work.model->name;
  const ModelId waiting_for = work.model->id;
  std::optional<cluster::Ticket> ticket;

  struct Deadline final : net::TimerWheel::Entry {
    std::function<void()> action;
    void expired() override { action(); }
  } timer;
  timer.action = [&] {
    if (worker.scheduler().now() < deadline) {
      const std::scoped_lock lock(mutex_);
      if (!waiters_.contains(*ticket)) return;
      if (waiter.holds_out) serve_waiting(waiting_for);
      worker.scheduler().arm(
          timer, waiter.holds_out ? std::min(deadline, worker.scheduler().now() + look_again_every)
                                  : deadline);
      return;
    }
    give_up(*ticket, Error{ErrorKind::timeout, Origin::gateway, Retry::later,
                           fmt::format("no node had a free slot for {} within {:.0f} s", model,
                                       to_seconds(client.options().queue.wait_max))});
  };

  auto enqueue = [&](auto handler) {
    waiter.resume = [handler = std::move(handler)]() mutable { std::move(handler)(); };
    const std::scoped_lock lock(mutex_);
    const Result<cluster::Ticket> queued = queue_.enqueue({.model = work.model->id,
                                                           .client = work.client,
                                                           .urgency = work.urgency,
                                                           .deadline = deadline});
    if (!queued) {
      waiter.result = std::unexpected(queued.error());
      asio::post(worker.context(), std::move(waiter.resume));
      return;
    }
    ticket = *queued;
    waiters_.emplace(*ticket, &waiter);
    waiting_.fetch_add(1, std::memory_order_relaxed);
    // A place may have come free between the last look and this.
    const ModelId wanted = work.model->id;
    serve_waiting(wanted);
    // Or be made by trying one more, which is not worth its risk to who has a place and waits for a
    // better one.
    if (!waiters_.contains(*ticket) || waiter.holds_out) return;
    cluster::want_more(*work.model, began);
    serve_waiting(wanted);
  };
  client.watch();
  worker.scheduler().arm(timer, std::min(deadline, began + look_again_every));
  auto waiting = asio::async_initiate<decltype(net::use_task), void()>(enqueue, net::use_task);
  client.on_leave([&] {
    if (!ticket) return;
    give_up(*ticket, client.ended() ? *client.ended()
                                    : Error{ErrorKind::cancelled, Origin::client, Retry::never,
                                            "the client left the queue"});
  });
  co_await std::move(waiting);
  timer.disarm();
  client.on_leave(nullptr);
  client.request().outcome.queued += worker.scheduler().now() - began;
  co_return std::move(*waiter.result);
}

void Admission::released(std::optional<ModelId> model) {
  if (!model || waiting() == 0) return;
  const std::scoped_lock lock(mutex_);
  serve_waiting(*model);
}

void Admission::kick() {
  if (waiting() == 0) return;
  const std::scoped_lock lock(mutex_);
  for (const ModelId model : queue_.models_waiting()) serve_waiting(model);
}

/// Lets waiters of the model go while there are places. The lock is held.
void Admission::serve_waiting(ModelId model) {
  const TimePoint now = clock_.now();
  const auto view = views_.get();
  Placement::Awaited awaited;
  queue_.serve(model, [&](cluster::Ticket ticket) {
    Waiter& waiter = *waiters_.at(ticket);
    Work& work = waiter.work;
    if (!work.renew(view)) {
      wake(ticket, std::unexpected(Error{ErrorKind::not_found, Origin::client, Retry::never,
                                         "the model was removed meanwhile"}));
      return true;
    }
    work.shape.waited_s = to_seconds(now - waiter.began);
    const std::size_t before = awaited.size();
    Result<Slot> placed = placement_.place(work, scratch_, awaited, now, random_.bits());
    waiter.holds_out = awaited.size() > before;
    if (waiter.holds_out && !work.awaited) {
      work.awaited = awaited.back();
      work.wait_began = now;
    }
    if (!placed && placed.error().kind == ErrorKind::overloaded)
      return false;  // perhaps the next one can
    wake(ticket, std::move(placed));
    awaited.clear();  // they are all looked at once more
    return true;
  });
}

std::size_t Admission::waiting(ModelId model) {
  if (waiting() == 0) return 0;
  const std::scoped_lock lock(mutex_);
  return queue_.waiting(model);
}

std::vector<NodeId> Admission::wanted_asleep(Duration wake_time) {
  std::vector<NodeId> wanted;
  if (waiting() == 0) return wanted;
  const TimePoint now = clock_.now();
  const auto view = views_.get();
  const std::scoped_lock lock(mutex_);
  for (const ModelId model : queue_.models_waiting()) {
    const std::size_t requests = queue_.waiting(model);
    queue_.for_each_in_order(model, cluster::WaitQueue::looked_at_max, [&](cluster::Ticket ticket) {
      Waiter& waiter = *waiters_.at(ticket);
      if (!waiter.work.renew(view)) return true;
      Placement::candidates_of(waiter.work, scratch_, now);
      const auto chosen =
          routing::choose_to_wake(scratch_, waiter.work.shape,
                                  {.requests = requests, .longest = now - waiter.began}, wake_time);
      if (chosen) wanted.push_back(scratch_[*chosen].node);
      return !chosen;
    });
  }
  return wanted;
}

/// Hands the result to the waiter, whose place in the queue is gone or about to go. The lock is
/// held.
void Admission::wake(cluster::Ticket ticket, Result<Slot> result) {
  const auto it = waiters_.find(ticket);
  Waiter& waiter = *it->second;
  waiters_.erase(it);
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  waiter.result = std::move(result);
  asio::post(waiter.worker.context(), std::move(waiter.resume));
}

void Admission::give_up(cluster::Ticket ticket, Error error) {
  const std::scoped_lock lock(mutex_);
  if (queue_.cancel(ticket)) wake(ticket, std::unexpected(std::move(error)));
}

}  // namespace sollol::gateway
