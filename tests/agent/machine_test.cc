#include "agent/machine.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <utime.h>

#include "agent/owner.h"
#include "fake_machine.h"

namespace sollol::agent {
namespace {

using namespace std::chrono_literals;

TEST(HashedId, HidesTheIdAndIsTheSameEachTime) {
  const auto id = hashed_id("0123456789abcdef0123456789abcdef", "sollol machine");
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(id, hashed_id("0123456789abcdef0123456789abcdef", "sollol machine"));
  EXPECT_NE(id, hashed_id("0123456789abcdef0123456789abcdee", "sollol machine"));
  EXPECT_NE(id, hashed_id("0123456789abcdef0123456789abcdef", "sollol boot"));
  EXPECT_FALSE(id.contains("0123456789abcdef"));
}

TEST(HashedId, IsEmptyWithoutAnId) {
  EXPECT_EQ(hashed_id("", "x"), "");
  EXPECT_EQ(hashed_id("uninitialized", "x"), "");
}

TEST(ReadMachine, TakesTheFactsFromTheFiles) {
  const FakeMachine fake;
  fake.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  fake.write("proc/sys/kernel/random/boot_id", "6a5f0c7e-0000-4000-8000-000000000001\n");
  fake.write("proc/sys/kernel/hostname", "box\n");
  fake.write("proc/meminfo", "MemTotal:       65536 kB\nMemFree: 1 kB\nMemAvailable:   32768 kB\n");
  fake.write("proc/loadavg", "1.25 0.50 0.25 2/300 4242\n");
  const auto machine = read_machine(fake.roots());
  EXPECT_EQ(machine.id, hashed_id("0123456789abcdef0123456789abcdef", "sollol machine"));
  EXPECT_EQ(machine.boot_id, hashed_id("6a5f0c7e-0000-4000-8000-000000000001", "sollol boot"));
  EXPECT_EQ(machine.hostname, "box");
  EXPECT_EQ(machine.memory_total, 64u << 20);
  EXPECT_EQ(machine.memory_available, 32u << 20);
  EXPECT_EQ(machine.load, 1.25);
  EXPECT_GT(machine.cores, 0u);
}

TEST(ReadMachine, LeavesUnknownWhatIsNotThere) {
  const FakeMachine fake;
  const auto machine = read_machine(fake.roots());
  EXPECT_EQ(machine.id, "");
  EXPECT_EQ(machine.boot_id, "");
  EXPECT_EQ(machine.memory_total, 0u);
  EXPECT_EQ(machine.load, std::nullopt);
}

constexpr auto on_a_terminal =
    "UID=1000\nACTIVE=1\nREMOTE=0\nTYPE=tty\nCLASS=user\nSEAT=seat0\nTTY=tty2\n";

struct Watched {
  FakeMachine fake;
  OwnerWatch watch{fake.roots()};
  TimePoint now = TimePoint{} + 1h;
  WallTime wall = WallTime{} + 100h;
  Owner read() { return watch.read(now, wall); }
  void last_input(Duration ago) const {
    fake.write("dev/tty2", "");
    const auto at =
        std::chrono::duration_cast<std::chrono::seconds>((wall - ago).time_since_epoch()).count();
    const utimbuf times{.actime = at, .modtime = at};
    ::utime((fake.roots().dev + "/tty2").c_str(), &times);
  }
};

TEST(Owner, IsUnknownWhereNothingTells) { EXPECT_EQ(Watched().read(), Owner{}); }

TEST(Owner, IsAwayWhenNobodyIsLoggedIn) {
  Watched at;
  at.fake.write("run/systemd/sessions/1", "ACTIVE=1\nREMOTE=1\nCLASS=user\nTYPE=tty\nTTY=pts/0\n");
  at.fake.write("run/systemd/sessions/c1", "ACTIVE=1\nREMOTE=0\nCLASS=greeter\nSEAT=seat0\n");
  EXPECT_EQ(at.read(), (Owner{.in_use = false, .idle_s = {}, .sessions = 0}));
}

TEST(Owner, IsThereWhileTheTerminalGetsInput) {
  Watched at;
  at.fake.write("run/systemd/sessions/2", on_a_terminal);
  at.last_input(10s);
  EXPECT_EQ(at.read(), (Owner{.in_use = true, .idle_s = 10, .sessions = 1}));
  at.last_input(20min);
  EXPECT_EQ(at.read(), (Owner{.in_use = false, .idle_s = 1200, .sessions = 1}));
}

TEST(Owner, IsUnknownAtADesktopThatShowsNoInput) {
  Watched at;
  at.fake.write("run/systemd/sessions/3",
                "ACTIVE=1\nREMOTE=0\nTYPE=wayland\nCLASS=user\nSEAT=seat0\n");
  EXPECT_EQ(at.read(), (Owner{.in_use = {}, .idle_s = {}, .sessions = 1}));
}

TEST(Owner, IsThereAfterAKeyOfTheBuiltInKeyboard) {
  Watched at;
  at.fake.write("run/systemd/sessions/3", "ACTIVE=1\nREMOTE=0\nTYPE=x11\nCLASS=user\nSEAT=seat0\n");
  at.fake.write("proc/interrupts", "      CPU0  CPU1\n  1:   10   5  IO-APIC  1-edge  i8042\n");
  at.read();
  at.fake.write("proc/interrupts", "      CPU0  CPU1\n  1:   10   6  IO-APIC  1-edge  i8042\n");
  at.now += 1s;
  EXPECT_EQ(at.read().in_use, true);
  at.now += 30s;
  EXPECT_EQ(at.read().idle_s, 30u);
}

}  // namespace
}  // namespace sollol::agent
