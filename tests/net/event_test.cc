#include "net/event.h"

#include "net/harness.h"

namespace sollol::net {
namespace {

Task<int> wait_times(Event& event, int times, int& seen) {
  for (; seen < times; ++seen) {
    auto waiting = event.wait();
    co_await std::move(waiting);
  }
  co_return seen;
}

TEST(Event, ASetWithoutAWaiterIsRememberedOnce) {
  Loop loop;
  Event event(loop.context);
  event.set();
  event.set();
  int seen = 0;
  auto once = wait_times(event, 1, seen);
  EXPECT_EQ(loop.run(std::move(once)), 1);
  auto again = wait_times(event, 2, seen);
  bool done = false;
  asio::co_spawn(loop.context, std::move(again), [&](std::exception_ptr, int) { done = true; });
  loop.context.restart();
  loop.context.poll();
  EXPECT_FALSE(done);
  event.set();
  loop.run_until([&] { return done; });
  EXPECT_EQ(seen, 2);
}

TEST(Event, TheSetterGoesOnFirst) {
  Loop loop;
  Event event(loop.context);
  int seen = 0;
  auto waiting = wait_times(event, 1, seen);
  asio::co_spawn(loop.context, std::move(waiting), [](std::exception_ptr, int) {});
  loop.context.poll();
  event.set();
  EXPECT_EQ(seen, 0);
  loop.context.restart();
  loop.context.poll();
  EXPECT_EQ(seen, 1);
}

TEST(Event, AContextThatEndsFirstDestroysItsWaiter) {
  Event* event = nullptr;
  std::unique_ptr<Event> owned;
  int seen = 0;
  {
    asio::io_context context;
    owned = std::make_unique<Event>(context);
    event = owned.get();
    asio::co_spawn(context, wait_times(*event, 1, seen), [](std::exception_ptr, int) {});
    context.poll();
    owned.reset();  // before the context, as members of its owner are
  }
  EXPECT_EQ(seen, 0);
}

}  // namespace
}  // namespace sollol::net
