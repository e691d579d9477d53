#include "net/avahi.h"

#include <gtest/gtest.h>

#if __has_include(<avahi-client/client.h>)
#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>
#endif

namespace sollol::net::avahi {
namespace {

TEST(Avahi, IsDeclaredAsItsOwnHeadersDeclareIt) {
#if __has_include(<avahi-client/client.h>)
  EXPECT_EQ(any_interface, AVAHI_IF_UNSPEC);
  EXPECT_EQ(any_protocol, AVAHI_PROTO_UNSPEC);
  EXPECT_EQ(ok, AVAHI_OK);
  EXPECT_EQ(name_is_taken, AVAHI_ERR_COLLISION);
  EXPECT_GE(address_text_max, AVAHI_ADDRESS_STR_MAX);
  EXPECT_EQ(int{wait_for_daemon}, int{AVAHI_CLIENT_NO_FAIL});
  EXPECT_EQ(int{client_registering}, int{AVAHI_CLIENT_S_REGISTERING});
  EXPECT_EQ(int{client_running}, int{AVAHI_CLIENT_S_RUNNING});
  EXPECT_EQ(int{client_collision}, int{AVAHI_CLIENT_S_COLLISION});
  EXPECT_EQ(int{client_failure}, int{AVAHI_CLIENT_FAILURE});
  EXPECT_EQ(int{client_connecting}, int{AVAHI_CLIENT_CONNECTING});
  EXPECT_EQ(int{group_established}, int{AVAHI_ENTRY_GROUP_ESTABLISHED});
  EXPECT_EQ(int{group_collision}, int{AVAHI_ENTRY_GROUP_COLLISION});
  EXPECT_EQ(int{browser_new}, int{AVAHI_BROWSER_NEW});
  EXPECT_EQ(int{browser_remove}, int{AVAHI_BROWSER_REMOVE});
  EXPECT_EQ(int{browser_all_for_now}, int{AVAHI_BROWSER_ALL_FOR_NOW});
  EXPECT_EQ(int{browser_failure}, int{AVAHI_BROWSER_FAILURE});
  EXPECT_EQ(int{resolver_found}, int{AVAHI_RESOLVER_FOUND});
  EXPECT_EQ(int{result_of_this_machine}, int{AVAHI_LOOKUP_RESULT_LOCAL});
  EXPECT_EQ(int{result_of_this_client}, int{AVAHI_LOOKUP_RESULT_OUR_OWN});
#else
  GTEST_SKIP() << "libavahi-client-dev is not here";
#endif
}

}  // namespace
}  // namespace sollol::net::avahi
