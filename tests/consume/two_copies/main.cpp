// SPDX-License-Identifier: MIT
// Two sources of this program include two versions of the library, whose inline functions of one name differ.
#include <iostream>
#include <string>

std::string refused_by_one();
std::string refused_by_other();

int main() {
    std::cout << refused_by_one() << '\n' << refused_by_other() << '\n';
    const bool is_told_apart = refused_by_one().find("temperature must be") != std::string::npos &&
                               refused_by_other().find("heat must be") != std::string::npos;
    return is_told_apart ? 0 : 1;
}
