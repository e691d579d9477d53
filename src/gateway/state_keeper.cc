#include "gateway/state_keeper.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <utility>

namespace sollol::gateway {

namespace asio = net::asio;

StateKeeper::StateKeeper(const OptionsSource& options, Control& control, ResidencyKeeper& residency,
                         cluster::History& history)
    : options_(options),
      control_(control),
      residency_(residency),
      history_(history),
      kept_(!options.get()->state.file.empty()),
      file_(options.get()->state.file) {}

StateKeeper::~StateKeeper() { stop(); }

Moment StateKeeper::moment() const {
  return {control_.scheduler().now(), control_.scheduler().wall_now()};
}

void StateKeeper::begin_afresh(const Error& why) {
  const std::string aside = file_.set_aside();
  spdlog::warn("state file: {}; beginning afresh, it is kept as {}", why.detail, aside);
}

void StateKeeper::restore() {
  if (!kept_) return;
  const std::scoped_lock lock(writing_);
  const Result<SavedState> state = file_.read(moment());
  if (state) {
    history_.restore_lengths(state->answer_lengths);
    control_.restore(*state);
    residency_.restore(state->wishes);
  } else if (state.error().kind == ErrorKind::bad_input) {
    begin_afresh(state.error());
  } else if (state.error().kind != ErrorKind::not_found) {
    spdlog::warn("state file: {}; starting without", state.error().detail);
  }
}

void StateKeeper::start() {
  if (kept_) thread_ = std::thread([this] { run(); });
}

void StateKeeper::run() {
  while (true) {
    const auto pause = options_.get()->state.interval;
    {
      std::unique_lock lock(sleeping_);
      if (wake_.wait_for(lock, pause, [this] { return ending_; })) return;
    }
    save();
  }
}

void StateKeeper::save() {
  if (!kept_) return;
  SavedState state =
      asio::co_spawn(control_.context(), control_.saved_state(), asio::use_future).get();
  state.wishes = asio::co_spawn(control_.context(), residency_.wishes(), asio::use_future).get();
  state.answer_lengths = history_.lengths();
  write(state);
}

void StateKeeper::write(const SavedState& state) {
  const std::scoped_lock lock(writing_);
  if (handed_off_) return;
  Result<void> done = file_.write(state, moment());
  if (!done && done.error().kind == ErrorKind::bad_input) {
    begin_afresh(done.error());
    done = file_.write(state, moment());
  }
  if (done) {
    if (std::exchange(failed_, false)) spdlog::info("state file: written again");
    return;
  }
  if (!std::exchange(failed_, true)) {
    spdlog::warn("state file: {}; what is learnt will not outlive the process until it can be",
                 done.error().detail);
  }
}

void StateKeeper::hand_off() {
  const std::scoped_lock lock(writing_);
  handed_off_ = true;
}

void StateKeeper::stop() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(sleeping_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
  save();
}

}  // namespace sollol::gateway
