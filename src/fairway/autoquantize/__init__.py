"""`fairway quantize --auto`: which type each matrix should have, found by measuring the model itself."""
