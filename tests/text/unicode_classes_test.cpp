// SPDX-License-Identifier: MIT
// Unicode classes: totals of Unicode 16.0, the code points that trip others, the ends of ranges.
#include <bitnet/text/unicode_classes.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>

using namespace bitnet;
using namespace bitnet::detail;

static_assert(class_of(U'a') == char_class::letter);
static_assert(class_of(0xffffffffu) == char_class::other);

TEST_CASE("there are as many letters, numbers and spaces as Unicode 16.0 has") {
    std::array<std::size_t, 4> count{};
    for (char32_t c = 0; c < 0x110000; ++c) {
        ++count[static_cast<std::size_t>(class_of(c))];
    }
    // DerivedGeneralCategory-16.0.0: Lu 1858 + Ll 2258 + Lt 31 + Lm 404 + Lo 136477; Nd 760 + Nl 236 + No 915.
    CHECK(count[static_cast<std::size_t>(char_class::letter)] == 1858 + 2258 + 31 + 404 + 136477);
    CHECK(count[static_cast<std::size_t>(char_class::number)] == 760 + 236 + 915);
    CHECK(count[static_cast<std::size_t>(char_class::space)] == 25);
}

TEST_CASE("white space is exactly the 25 code points of the property White_Space") {
    for (const char32_t c : {0x09u, 0x0au, 0x0bu, 0x0cu, 0x0du, 0x20u, 0x85u, 0xa0u, 0x1680u, 0x2000u, 0x200au, 0x2028u,
                             0x2029u, 0x202fu, 0x205fu, 0x3000u}) {
        CHECK(class_of(c) == char_class::space);
    }
    for (const char32_t c : {0x08u, 0x0eu, 0x1cu, 0x1fu, 0x180eu, 0x200bu, 0x2060u, 0xfeffu}) {
        CHECK(class_of(c) == char_class::other);
    }
}

TEST_CASE("marks are not letters, some letters and all fractions are numbers, as in Unicode") {
    CHECK(class_of(0x301) == char_class::other);   // combining acute
    CHECK(class_of(0x200d) == char_class::other);  // zero width joiner
    CHECK(class_of(0xaa) == char_class::letter);   // feminine ordinal
    CHECK(class_of(0xb2) == char_class::number);   // superscript two, No
    CHECK(class_of(0x2160) == char_class::number); // Roman numeral one, Nl
    CHECK(class_of(0xbd) == char_class::number);   // one half
    CHECK(class_of(0x24b6) == char_class::other);  // circled A, So
    CHECK(class_of(0xd800) == char_class::other);  // a surrogate
}

TEST_CASE("the ends of the tables and of big ranges are right") {
    CHECK(class_of(U'/') == char_class::other);
    CHECK(class_of(U'0') == char_class::number);
    CHECK(class_of(U'9') == char_class::number);
    CHECK(class_of(U':') == char_class::other);
    CHECK(class_of(U'Z') == char_class::letter);
    CHECK(class_of(U'[') == char_class::other);
    CHECK(class_of(0x9fff) == char_class::letter);
    CHECK(class_of(0xac00) == char_class::letter);
    CHECK(class_of(0xd7a3) == char_class::letter);
    CHECK(class_of(0xd7a4) == char_class::other);
    CHECK(class_of(0x323af) == char_class::letter); // last ideograph of extension H
    CHECK(class_of(0x323b0) == char_class::other);
    CHECK(class_of(0x10ffff) == char_class::other);
    CHECK(class_of(0x105c0) == char_class::letter); // Todhri, new in 16.0
    CHECK(class_of(0x1ccf0) == char_class::number); // outlined digit zero, new in 16.0
}
