// SPDX-License-Identifier: MIT
// The address space of the process ends, as under `ulimit -v`: large requests and threads are refused by the system.
#include "golden/tiny_model_writer.hpp"

#include <bitnet/run/open_model.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>

// Sanitizers take most of the address space for themselves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ADDRESS_SPACE_CAN_END 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_SPACE_CAN_END 0
#endif
#endif
#if !defined(ADDRESS_SPACE_CAN_END) && defined(__linux__)
#define ADDRESS_SPACE_CAN_END 1
#endif

#if ADDRESS_SPACE_CAN_END
#include <sys/resource.h>

using namespace bitnet;

namespace {

/// While it exists the process has no more than `bytes` of address space.
class address_space_limit {
public:
    explicit address_space_limit(std::size_t bytes) {
        getrlimit(RLIMIT_AS, &before_);
        const rlimit now{bytes, before_.rlim_max};
        setrlimit(RLIMIT_AS, &now);
    }
    address_space_limit(const address_space_limit&) = delete;
    address_space_limit& operator=(const address_space_limit&) = delete;
    ~address_space_limit() { setrlimit(RLIMIT_AS, &before_); }

private:
    rlimit before_{};
};

} // namespace

TEST_CASE("a text that needs more memory than there is gives an error, and another text its tokens") {
    auto bytes = bitnet_tests::tiny_model({});
    REQUIRE(bytes);
    const auto model = any_model::open(byte_source::borrow(bytes->span(), "tiny"));
    REQUIRE(model);
    std::string book(std::size_t{64} << 20, 'x');
    for (const std::size_t word : {std::size_t{5}, book.size()}) { // short words, and one that is as long as the book
        for (std::size_t i = word; i < book.size(); i += word) {
            book[i] = ' ';
        }
        const address_space_limit limit(std::size_t{200} << 20);
        const auto ids = model->text().encode(book);
        REQUIRE_FALSE(ids);
        CHECK(ids.error().code == errc::out_of_memory);
        CHECK(ids.error().message.find(" bytes") != std::string::npos);
        CHECK(model->text().encode("the thing").has_value());
        book.assign(book.size(), 'x');
    }
}

TEST_CASE("a pool whose threads the system refuses gives an error, and a smaller one opens") {
    const address_space_limit limit(std::size_t{400} << 20);
    const auto pool = thread_pool::open(most_threads);
    REQUIRE_FALSE(pool);
    CHECK(pool.error().code == errc::thread_error);
    CHECK(pool.error().message.find("refused thread ") != std::string::npos);
    CHECK(thread_pool::open(2).has_value());
}
#endif
