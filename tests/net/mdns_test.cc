#include "net/mdns.h"

#include <gtest/gtest.h>

namespace sollol::net {
namespace {

TEST(Mdns, WithoutTheLibraryThereIsNoneAndAReason) {
  std::string why;
  EXPECT_EQ(Mdns::open({.announce = {}, .browse = true, .client_libraries = {"libnone.so"}}, why),
            nullptr);
  EXPECT_FALSE(why.empty());
}

TEST(Mdns, WithoutADaemonNothingIsFoundAndItEndsAtOnce) {
  std::string why;
  const auto mdns =
      Mdns::open({.announce = Announcement{.service = agent_service, .port = 1, .name = "test"},
                  .browse = false},
                 why);
  if (mdns == nullptr) GTEST_SKIP() << why;
  EXPECT_TRUE(mdns->heard().addresses.empty());
}

}  // namespace
}  // namespace sollol::net
