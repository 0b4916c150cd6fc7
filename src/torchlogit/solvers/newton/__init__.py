"""Newton methods: steps from a quadratic model of F that is built from all rows or a sample of them."""
