#include "sim/live_model.h"

#include <utility>

namespace sollol::sim {

void LiveModel::unload(const Manifest& manifest) {
  model_.unload(clock_.now(), manifest);
  settle();
}

/// Wakes whoever moved on and sets the timer for what comes next.
void LiveModel::settle() {
  for (const auto id : model_.take_changed()) {
    if (const auto waiter = waiters_.find(id); waiter != waiters_.end()) waiter->second->wake();
  }
  const auto wake = model_.next_wake();
  if (!wake) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(clock_.real(*wake));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self) return;
    self->model_.advance(self->clock_.now());
    self->settle();
  });
}

Place::Place(std::shared_ptr<LiveModel> live, Exchange& exchange, Demand demand)
    : live_(std::move(live)),
      exchange_(exchange),
      id_(live_->model_.admit(live_->clock_.now(), std::move(demand))) {
  if (id_) live_->waiters_.emplace(*id_, &exchange_);
  live_->settle();
}

Place::~Place() {
  if (!id_) return;
  live_->waiters_.erase(*id_);
  live_->model_.cancel(live_->clock_.now(), *id_);
  live_->settle();
}

boost::asio::awaitable<void> Place::ready() {
  while (job().phase != Phase::running) co_await exchange_.wait();
}

void Place::finish(TimePoint at, std::string_view text) {
  live_->waiters_.erase(*id_);
  live_->model_.finish(at, *std::exchange(id_, {}), text);
  live_->settle();
}

}  // namespace sollol::sim
