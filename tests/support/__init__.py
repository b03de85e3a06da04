"""What several tests share: fakes, clocks and generated workflows."""
